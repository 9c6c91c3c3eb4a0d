const data = JSON.parse(document.getElementById("data").textContent);
const find = selector => document.querySelector(selector);

// An element; what is given as children is text, whatever it looks like.
function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children.filter(child => child !== null));
  return made;
}

// A name as text that turns nothing beside it.
const named = text => element("bdi", {}, text);

// Only one sound at a time.
document.addEventListener("play", event => {
  for (const other of document.querySelectorAll("audio")) if (other !== event.target) other.pause();
}, true);
