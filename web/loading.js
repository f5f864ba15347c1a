// @ts-check
// What a learner sees when the site itself does not arrive: a module that is lost on the way, or of
// another version than the rest in the moment of a deployment. It is no module, so it needs none.

addEventListener(
  "error",
  ({ target }) => {
    // The first page that is drawn takes its place.
    const loading = document.getElementById("loading");
    if (!loading || !(target === window || target instanceof HTMLScriptElement)) return;
    const heading = document.createElement("h1");
    heading.append("This page has not arrived.");
    const text = document.createElement("p");
    text.className = "summary";
    text.setAttribute("role", "alert");
    text.append("Part of it was lost on the way. Whatever you have bought is safe.");
    const again = document.createElement("button");
    again.className = "button";
    again.type = "button";
    again.append("Load it again");
    again.addEventListener("click", () => location.reload());
    loading.className = "narrow";
    loading.replaceChildren(heading, text, again);
  },
  true,
);
