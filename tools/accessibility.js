// What the theme adds to a page in the browser: the buttons of a code block are no landmark, tables and search results
// that scroll can be scrolled by keyboard, and the places of search results can be read.
(() => {
  const sizes = new ResizeObserver((tables) => {
    for (const { target } of tables) target.tabIndex = target.scrollWidth > target.clientWidth ? 0 : -1;
  });
  const places = new CSSStyleSheet();
  places.replaceSync("menu[id] { color: rgb(var(--color-foreground) / 0.7); }");
  const amend = () => {
    for (const buttons of document.querySelectorAll(".md-code__nav:not([role])")) buttons.setAttribute("role", "none");
    for (const table of document.querySelectorAll(".md-typeset__scrollwrap:not([tabindex])")) sizes.observe(table);
    for (const { shadowRoot: search } of document.querySelectorAll("body > div")) {
      if (!search) continue;
      if (!search.adoptedStyleSheets.includes(places)) {
        search.adoptedStyleSheets.push(places);
        changes.observe(search, { childList: true, subtree: true });
      }
      const results = search.querySelector("[role=listbox]")?.parentElement;
      if (results) results.tabIndex = 0;
    }
  };
  const changes = new MutationObserver(amend);
  changes.observe(document.documentElement, { childList: true, subtree: true });
})();
