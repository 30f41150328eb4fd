"use strict";
// Renews the page as things change. Without this file the page is complete, and as of its loading.

const mark = document.getElementById("live");
let running = false;
let again = false;

function say(word, tone) {
  if (mark.textContent !== word) {
    mark.textContent = word;
    mark.className = tone;
  }
}

function keep(fresh) {
  // Neither a reader's place nor the focus is lost.
  const old = document.getElementById("main");
  const regions = old.querySelectorAll("[role=region]");
  const places = Array.from(regions, (each) => [each.getAttribute("aria-label"), each.scrollLeft]);
  const focused = document.activeElement;
  const key = focused && old.contains(focused)
    ? focused.getAttribute("href") || focused.getAttribute("aria-label") : null;
  old.replaceWith(fresh);
  for (const [label, left] of places) {
    const region = fresh.querySelector(`[aria-label="${CSS.escape(label)}"]`);
    if (region) region.scrollLeft = left;
  }
  if (key) {
    const text = CSS.escape(key);
    const next = fresh.querySelector(`[href="${text}"], [aria-label="${text}"]`);
    if (next) next.focus({ preventScroll: true });
  }
}

function renew() {
  if (running) {
    again = true;
    return;
  }
  running = true;
  const request = new XMLHttpRequest();
  request.open("GET", location.href);
  request.responseType = "document";
  request.onloadend = () => {
    const page = request.response;
    const main = page && page.getElementById("main");
    const foot = page && page.querySelector("footer");
    if (main && foot) {
      keep(document.adoptNode(main));
      document.querySelector("footer").replaceWith(document.adoptNode(foot));
    }
    running = false;
    if (again) {
      again = false;
      renew();
    }
  };
  request.send();
}

const source = new EventSource("/live");
let lost = false;
source.onopen = () => {
  say("live", "good");
  if (lost) renew();
  lost = false;
};
source.onerror = () => {
  lost = true;
  say("not connected", "bad");
};
source.addEventListener("changed", renew);
// What is told in ages grows old.
setInterval(() => { if (!lost && !document.hidden) renew(); }, 30000);
