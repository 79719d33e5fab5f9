// SPDX-License-Identifier: Apache-2.0
// Elements out of texts, and a page that changes only where something is different: what has the focus,
// is scrolled or unfolded stays so. Texts are never read as HTML.

type Child = Node | string | null | false;

export type Attributes = Record<string, string | boolean | null>;

/** @param attributes null and false leave one out, true is an empty one. */
export function el(tag: string, attributes: Attributes = {}, ...children: Child[]): HTMLElement {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== false) element.setAttribute(name, value === true ? '' : value);
  }
  for (const child of children) if (child !== null && child !== false) element.append(child);
  return element;
}

/** Makes the children of `target` what these are; children with the attribute data-key stay themselves
 * wherever they move. */
export function show(target: Element, ...children: Child[]): void {
  const wanted = document.createDocumentFragment();
  for (const child of children) if (child !== null && child !== false) wanted.append(child);
  patchChildren(target, wanted);
}

function patchChildren(target: Node, wanted: Node): void {
  const keyed = new Map<string, Node>();
  for (const node of target.childNodes) {
    const key = keyOf(node);
    if (key !== null) keyed.set(key, node);
  }
  let at = target.firstChild;
  for (const node of [...wanted.childNodes]) {
    const key = keyOf(node);
    const same = key === null ? at : (keyed.get(key) ?? null);
    if (!same || !isAlike(same, node)) {
      target.insertBefore(node, at);
      continue;
    }
    if (same === at) at = at.nextSibling;
    else target.insertBefore(same, at);
    patch(same, node);
  }
  while (at) {
    const next = at.nextSibling;
    at.remove();
    at = next;
  }
}

function patch(node: Node, wanted: Node): void {
  if (!(node instanceof Element) || !(wanted instanceof Element)) {
    if (node.nodeValue !== wanted.nodeValue) node.nodeValue = wanted.nodeValue;
    return;
  }
  if (wanted.hasAttribute('data-own')) return; // somebody else fills it
  for (const { name } of [...node.attributes]) {
    if (!wanted.hasAttribute(name) && name !== 'open') node.removeAttribute(name);
  }
  for (const { name, value } of wanted.attributes) {
    if (node.getAttribute(name) !== value) node.setAttribute(name, value);
  }
  patchChildren(node, wanted);
}

function isAlike(a: Node, b: Node): boolean {
  return a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
}

function keyOf(node: Node): string | null {
  return node instanceof Element ? node.getAttribute('data-key') : null;
}
