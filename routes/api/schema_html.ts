/**
 * Renders JSON Schemas for the page of the HTTP API.
 *
 * @module
 */
import { html } from "hono/html";
import type { JsonSchema } from "./json_schema.ts";

/** A part of the page, in which texts have been escaped. */
export type Html = ReturnType<typeof html>;

/** Returns the anchor of a heading. */
export function anchor(name: string): string {
  return `-${name.toLowerCase().replaceAll(/\W+/g, "-")}`;
}

/** Returns a schema with its fields, its description and its examples. */
export function renderSchema(schema: JsonSchema): Html {
  const { description, examples } = schema as {
    description?: string;
    examples?: readonly unknown[];
  };
  return html`<p class="type">${typeOf(schema)}</p>
          ${prose(description)}
          ${fieldsOf(schema)}
          ${(examples ?? []).slice(0, 1).map(renderExample)}`;
}

function renderExample(example: unknown): Html {
  const text = typeof example === "string"
    ? example
    : JSON.stringify(example, undefined, 2);
  return html`<pre tabindex="0" aria-label="Example"><code>${text}</code></pre>`;
}

/** Returns the fields of an object, or those of the objects of a list or an alternative; empty if there are none. */
function fieldsOf(schema: JsonSchema): Html | "" {
  const { properties, required = [], items, anyOf } = schema as {
    properties?: Readonly<Record<string, JsonSchema>>;
    required?: readonly string[];
    items?: JsonSchema;
    anyOf?: readonly JsonSchema[];
  };
  if (properties !== undefined) {
    return html`<dl>${
      Object.entries(properties).map(([name, property]) =>
        field(
          name,
          required.includes(name) ? "required" : "optional",
          property,
        )
      )
    }</dl>`;
  }
  if (items !== undefined) return fieldsOf(items);
  const parts = (anyOf ?? []).map(fieldsOf).filter((part) => part !== "");
  return parts.length === 0
    ? ""
    : html`${parts.map((part, i) => i === 0 ? part : html`<p>or</p>${part}`)}`;
}

/** Returns a field or a parameter: its name, its type, a remark, and what its schema says. */
export function field(name: string, remark: string, schema: JsonSchema): Html {
  return html`
    <div>
      <dt><code>${name}</code> <span class="type">${typeOf(
        schema,
      )}</span> <span class="remark">${remark}</span></dt>
      <dd>
                ${prose(schema.description)}
                ${limitsOf(schema)}
                ${fieldsOf(schema)}
              </dd>
    </div>
  `;
}

/** Returns the type of a schema in words. */
function typeOf(schema: JsonSchema): Html | string {
  const { $ref, anyOf, items, type } = schema as {
    $ref?: string;
    anyOf?: readonly JsonSchema[];
    items?: JsonSchema;
    type?: string;
  };
  if ($ref !== undefined) {
    const name = $ref.slice($ref.lastIndexOf("/") + 1);
    return html`<a href="#${anchor(name)}">${name}</a>`;
  }
  if (anyOf !== undefined) {
    return html`${
      anyOf.map((option, i) => html`${i === 0 ? "" : " or "}${typeOf(option)}`)
    }`;
  }
  if (items !== undefined) return html`list of ${typeOf(items)}`;
  if ("const" in schema) {
    return html`<code>${JSON.stringify(schema.const)}</code>`;
  }
  return type ?? "any JSON";
}

/** The keywords of limits that the page shows, with their words. */
const LIMITS = {
  default: "by default",
  minimum: "at least",
  maximum: "at most",
  minItems: "entries at least",
  maxItems: "entries at most",
} as const;

/** Returns the limits of a value and the values that are allowed. Leaves out limits that every exact integer has. */
function limitsOf(schema: JsonSchema): Html | "" {
  const limits = Object.entries(LIMITS).filter(([keyword]) =>
    keyword in schema &&
    Math.abs(Number(schema[keyword])) !== Number.MAX_SAFE_INTEGER
  ).map(([keyword, words]) => `${words} \`${schema[keyword]}\``);
  const values = (schema.enum as readonly unknown[] | undefined)?.map((value) =>
    `\`${value}\``
  );
  if (values !== undefined) limits.unshift(`one of ${values.join(", ")}`);
  return limits.length === 0
    ? ""
    : html`<p class="limits">${inline(limits.join(", "))}</p>`;
}

/** Returns sentences as paragraphs. */
export function prose(text: unknown): Html[] {
  if (typeof text !== "string") return [];
  return text.split("\n\n").map((paragraph) =>
    html`<p>${inline(paragraph)}</p>`
  );
}

/** Returns a text in which the parts in backticks are code. */
export function inline(text: string): Html {
  return html`${
    text.split("`").map((part, i) =>
      i % 2 === 0 ? part : html`<code>${part}</code>`
    )
  }`;
}
