const data = JSON.parse(document.getElementById("data").textContent);
const find = selector => document.querySelector(selector);

// Creates an element. Children that are strings become text, never HTML.
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter(child => child !== null));
  return made;
}

// A name as text that does not change the direction of text next to it.
const named = text => element("bdi", {}, text);

// Plays only one sound at a time.
document.addEventListener("play", event => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
