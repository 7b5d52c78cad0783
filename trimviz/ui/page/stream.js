// Gradio's page reads what becomes of its requests from one stream, and hangs up when told that nothing is left. A
// request that joins the queue while that word is on its way is then never heard of. Here the page never hangs up: the
// word is kept from it, and the server is listened to again once there is something to wait for.
(() => {
  const plain = window.fetch;
  /** @type {Set<string>} requests that joined the queue and have not ended */
  const open = new Set();
  /** @type {Set<string>} requests that ended before the reply to their joining came */
  const early = new Set();
  let listen = () => {};

  /** The messages of a stream, as the lines they came in. @param {Response} reply */
  async function* messages(reply) {
    const reader = reply.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      if (done) return;
      const parts = (rest + value).split("\n\n");
      rest = parts.pop();
      yield* parts;
    }
  }

  /** A stream without an end, in place of the one that is asked for. @param {Request} request */
  async function endless(request) {
    const first = await plain(request.clone());
    if (!first.ok) return first;
    const encoder = new TextEncoder();
    const body = new ReadableStream({
      start(out) {
        let live = false;
        /** @param {Response} [reply] */
        const follow = async (reply) => {
          live = true;
          try {
            const answer = reply ?? (await plain(request.clone()));
            if (!answer.ok) throw new Error(answer.statusText);
            for await (const text of messages(answer)) {
              const { msg, event_id } = JSON.parse(text.replace(/^data:/, ""));
              if (msg === "close_stream") break;
              if (msg === "process_completed" && !open.delete(event_id)) early.add(event_id);
              out.enqueue(encoder.encode(`${text}\n\n`));
            }
            live = false;
            if (open.size) follow();
          } catch (error) {
            live = false;
            if (request.signal.aborted) out.close();
            else if (open.size) out.error(error);
          }
        };
        listen = () => live || follow();
        follow(first);
      },
    });
    return new Response(body, { status: first.status, headers: first.headers });
  }

  window.fetch = async (input, init) => {
    const { pathname } = new URL(input instanceof Request ? input.url : input, window.location.href);
    if (pathname.endsWith("/queue/data") && input instanceof Request) return endless(input);
    const reply = await plain(input, init);
    if (pathname.endsWith("/queue/join") && reply.ok) {
      const { event_id } = await reply.clone().json();
      if (!early.delete(event_id)) open.add(event_id);
      listen();
    }
    return reply;
  };
})();
