// What belongs to no component: copying, the address, and marking answers that no longer fit the settings.
() => {
  const params = () => new URLSearchParams(window.location.search);

  /** Copy a text; where the page is not allowed to, select it for the person. */
  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      return done;
    }
  }

  document.addEventListener("click", async (event) => {
    const button = event.target.closest?.("[data-copy]");
    if (!button) return;
    const text = button.dataset.copy === "link" ? window.location.href : button.dataset.text;
    const label = button.textContent;
    button.textContent = (await copy(text)) ? "Copied" : "Not allowed here";
    setTimeout(() => (button.textContent = label), 1500);
  });

  /** Say on the answers which settings they belong to, until new ones come. */
  function mark(selector, moved = false) {
    for (const card of document.querySelectorAll(selector)) {
      if (!moved) card.classList.remove("moved");
      if (!card.dataset.about || card.classList.contains("stale")) continue;
      card.classList.add("stale");
      card.classList.toggle("moved", moved); // by a slider alone, which may go back to where it was
      card.querySelector(".stale-note").textContent = `stale: for ${card.dataset.about}`;
    }
  }

  document.addEventListener("input", (event) => {
    if (event.target.closest?.("#question, #turns")) mark(".card[data-about]");
    else if (event.target.closest?.("#controls")) mark(".card.pruned", true);
    else if (event.target.closest?.("#settings")) mark(".card.pruned");
  });
  window.addEventListener("trimviz:settled", () => {
    for (const card of document.querySelectorAll(".card.moved")) {
      card.classList.remove("stale", "moved");
      card.querySelector(".stale-note").textContent = "";
    }
  });

  window.trimviz ??= {};
  /** Write the state into the address; what the lens or others put there (view, theme) stays. */
  window.trimviz.address = (text) => {
    const next = params();
    for (const key of ["example", "k", "n1", "method", "knobs", "model", "before", "q"]) next.delete(key);
    for (const [key, value] of new URLSearchParams(text)) next.set(key, value);
    const query = next.toString().replaceAll("%2C", ",").replaceAll("%3A", ":");
    window.history.replaceState(null, "", query ? `?${query}` : window.location.pathname);
  };
};
