/**
 * Creates and finds elements of the page. Text is never parsed as HTML, so that a published message cannot become
 * markup.
 *
 * @module
 */

/**
 * Creates an element with attributes and children. Texts become text nodes.
 *
 * @param {string} name
 * @param {Record<string, string>} [attributes]
 * @param {...(Node | string)} children
 * @returns {HTMLElement}
 */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [attribute, value] of Object.entries(attributes)) {
    made.setAttribute(attribute, value);
  }
  made.append(...children);
  return made;
}

/** Returns the element with this id. */
export function find(id) {
  return document.getElementById(id);
}
