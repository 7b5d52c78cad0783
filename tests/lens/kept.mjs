/** Reads {payload, pairs: [[n1, k], ...]} and prints, for each pair, what the browser would draw as kept and in which order. */
import { readFileSync } from "node:fs";

import { unpackAll } from "../../trimviz/ui/lens/codec.js";
import { curveOf } from "../../trimviz/ui/lens/facts.js";
import { keptTokens, openTable, select, selectionOf } from "../../trimviz/ui/lens/table.js";

const { payload, pairs } = JSON.parse(readFileSync(0, "utf8"));
const data = await unpackAll(payload);
const table = data.table && openTable(data.table);
const names = data.stages.map((stage) => stage.name);
const told = pairs.map(([n1, k]) => {
  const seen = table ? select(table, names, n1, k) : selectionOf(data.stages, data.n, data.run.k);
  const curve = data.explanation ? [...curveOf(data.explanation.similarity, seen.order, data.n)] : [];
  return {
    kept: keptTokens(seen),
    order: [...seen.order],
    n1: seen.n1,
    stages: seen.steps.map(({ count }) => count),
    curve,
  };
});
console.log(JSON.stringify(told));
