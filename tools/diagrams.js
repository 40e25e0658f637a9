// Diagrams of the manual. Mermaid lies beside this file and is loaded by the first page that has a diagram, never from
// another site. Where it is not there, a diagram stands as the text that it is written in.
(() => {
  const beside = new URL("mermaid.min.js", document.currentScript.src);
  let settings, drawing;

  const asText = async (id, text) => {
    const shown = document.createElement("pre");
    shown.style.cssText = "white-space: pre-wrap; font-size: 0.85em";
    shown.textContent = text;
    return { svg: shown.outerHTML };
  };

  // It takes this object's place.
  const load = () =>
    new Promise((done) => {
      const script = document.createElement("script");
      script.src = beside;
      script.onload = () => {
        window.mermaid.initialize(settings);
        done(window.mermaid);
      };
      script.onerror = () => done({ render: asText });
      document.head.append(script);
    });

  window.mermaid = {
    initialize(given) {
      settings = given;
    },
    async render(...diagram) {
      drawing ??= load();
      return (await drawing).render(...diagram);
    },
  };
})();
