/**
 * The menu of a message, from which the reader can copy texts and commands. All rows share one menu.
 *
 * @module
 */
import { curlCommand, redisCommand } from "./commands.js";
import { element, find } from "./dom.js";

/** How long the page shows whether a text was copied, in ms. */
const NOTICE_MS = 1600;
/** Distance between a button and its menu, in pixels. */
const GAP_PX = 4;

/**
 * Makes the "Copy" buttons of a list open the menu, for the message to which the button belongs.
 *
 * @param {HTMLElement} list
 * @param {(target: Element) => object} rowOf
 * @param {() => { room: string, settings: object | undefined }} context
 * @param {(text: string) => void} announce
 */
export function setUpMenu(list, rowOf, context, announce) {
  list.addEventListener("click", (event) => {
    const button = event.target.closest(".more");
    if (button === null) return;
    openMenu(button, itemsOf(rowOf(button), context()), announce);
  });
}

/**
 * Copies a text, and shows beside the button whether that was possible.
 *
 * @param {string} text
 * @param {HTMLElement} button
 * @returns {Promise<boolean>}
 */
export async function copy(text, button) {
  // Browsers offer no clipboard to pages over plain HTTP from another machine.
  const isCopied = navigator.clipboard !== undefined &&
    await navigator.clipboard.writeText(text).then(() => true, () => false);
  if (!isCopied) selectText(text, button);
  const label = button.textContent;
  button.textContent = isCopied ? "Copied" : "Press Ctrl+C";
  setTimeout(() => button.textContent = label, NOTICE_MS);
  return isCopied;
}

/** Selects a text in a field, so that the reader can copy it. */
function selectText(text, button) {
  const field = element("textarea", { class: "unseen", "aria-label": "Copy" });
  field.value = text;
  button.after(field);
  field.select();
  field.addEventListener("blur", () => field.remove(), { once: true });
}

function itemsOf({ event, message }, { room, settings }) {
  const items = [["JSON", JSON.stringify(message)]];
  if (settings?.servesBackends ?? true) {
    const needsKey = settings?.publishNeedsKey ?? false;
    const { origin } = location;
    items.push([
      "curl command",
      curlCommand({ origin, room, event, message, needsKey }),
    ]);
  }
  const redis = settings?.bridged
    ? redisCommand({ room, event, message })
    : undefined;
  if (redis !== undefined) items.push(["redis-cli command", redis]);
  return items;
}

function openMenu(button, items, announce) {
  const menu = find("menu");
  menu.replaceChildren(...items.map(([name, text]) => {
    const item = element(
      "button",
      { type: "button", role: "menuitem", tabindex: "-1" },
      `Copy ${name}`,
    );
    item.addEventListener("click", async () => {
      menu.hidePopover();
      const isCopied = await copy(text, button);
      announce(isCopied ? `Copied ${name}` : `Selected ${name}`);
    });
    return item;
  }));
  menu.onkeydown = moveFocus;
  menu.showPopover();
  const { top, bottom, right } = button.getBoundingClientRect();
  const { offsetHeight: height, offsetWidth: width } = menu;
  const isBelow = bottom + GAP_PX + height <= innerHeight;
  menu.style.top = `${isBelow ? bottom + GAP_PX : top - GAP_PX - height}px`;
  menu.style.left = `${Math.max(GAP_PX, right - width)}px`;
  menu.firstElementChild.focus();
}

function moveFocus(event) {
  const items = [...event.currentTarget.children];
  const index = items.indexOf(event.target);
  const next = {
    ArrowDown: index + 1,
    ArrowUp: index - 1,
    Home: 0,
    End: items.length - 1,
  }[event.key];
  if (event.key === "Tab") event.currentTarget.hidePopover();
  if (next === undefined) return;
  event.preventDefault();
  items.at(next % items.length).focus();
}
