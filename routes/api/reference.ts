/**
 * Renders the document of the HTTP API as a page without scripts, so that it works under the strictest
 * Content-Security-Policy.
 *
 * @module
 */
import { html } from "hono/html";
import type { Document, OperationObject, ParameterObject } from "./document.ts";
import type { ContentObject, ResponseObject } from "./responses.ts";
import {
  anchor,
  field,
  type Html,
  inline,
  prose,
  renderSchema,
} from "./schema_html.ts";

/** Operations of the document that belong together. */
interface Group {
  readonly name: string;
  readonly description: string;
  readonly members: readonly {
    readonly path: string;
    readonly method: string;
    readonly operation: OperationObject;
  }[];
}

/** Returns the document as a page. */
export function renderDocument(document: Document): string {
  const { info, openapi, components } = document;
  const groups = groupsOf(document);
  const title = `${info.title} HTTP API`;
  const page = html`
    <!DOCTYPE html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <meta name="color-scheme" content="light dark">
        <title>${title}</title>
        <link rel="icon" type="image/svg+xml" href="/docs/icon.svg">
        <link rel="stylesheet" href="/docs/base.css">
        <link rel="stylesheet" href="/docs/docs.css">
      </head>
      <body class="reference">
        ${renderNavigation(groups)}
        <main>
          <header>
            <h1>${title}</h1>
            <p>Version ${info.version}. For programs, and to generate clients:
              <a href="/openapi.json"><code>/openapi.json</code></a>, OpenAPI ${openapi}.</p>
            ${prose(info.description)}
          </header>
          ${groups.map(renderGroup)}
          ${renderComponents(components)}
        </main>
      </body>
    </html>
  `;
  return String(page);
}

function groupsOf({ paths, tags }: Document): Group[] {
  const operations = Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({
      path,
      method: method.toUpperCase(),
      operation,
    }))
  );
  return tags.map(({ name, description }) => ({
    name,
    description,
    members: operations.filter(({ operation }) =>
      operation.tags.includes(name)
    ),
  }));
}

function renderNavigation(groups: readonly Group[]): Html {
  const links = ({ members }: Group): Html[] =>
    members.map(({ method, path, operation }) =>
      html`<li><a href="#${operation.operationId}">${
        methodName(method)
      } <code>${path}</code></a></li>`
    );
  return html`<nav aria-label="Operations">
      ${
    groups.map((group) =>
      html`
        <h2><a href="#${anchor(group.name)}">${group.name}</a></h2>
        <ul>${links(group)}</ul>
      `
    )
  }
      <h2><a href="#components">Components</a></h2>
    </nav>`;
}

function renderGroup({ name, description, members }: Group): Html {
  return html`<section id="${anchor(name)}">
        <h2>${name}</h2>
        ${prose(description)}
        ${
    members.map(({ method, path, operation }) =>
      renderOperation(method, path, operation)
    )
  }
      </section>`;
}

function renderComponents(
  { schemas, responses }: Document["components"],
): Html {
  return html`<section id="components">
        <h2>Components</h2>
        <h3>Values</h3>
        ${
    Object.entries(schemas).map(([name, schema]) =>
      html`<article id="${anchor(name)}">
          <h4>${name}</h4>
          ${renderSchema(schema)}
        </article>`
    )
  }
        <h3>Responses on all paths</h3>
        ${renderResponses(responses)}
      </section>`;
}

function methodName(method: string): Html {
  return html`<b class="method ${method.toLowerCase()}">${method}</b>`;
}

function renderOperation(
  method: string,
  path: string,
  operation: OperationObject,
): Html {
  const { operationId, summary, description, parameters = [] } = operation;
  const { requestBody, security, responses } = operation;
  return html`<article id="${operationId}">
          <h3>${methodName(method)} <code>${path}</code></h3>
          <p class="summary">${summary}.</p>
          ${prose(description)}
          ${security === undefined ? "" : renderSecurity(security)}
          ${
    parameters.length === 0 ? "" : html`
      <h4>Parameters</h4>
      <dl>${parameters.map(renderParameter)}</dl>
    `
  }
          ${
    requestBody === undefined ? "" : html`<h4>Body</h4>
          ${renderContent(requestBody.content)}`
  }
          <h4>Responses</h4>
          ${renderResponses(responses)}
        </article>`;
}

/** What the sender sends for each security scheme. */
const CREDENTIALS: Readonly<Record<string, string>> = {
  publishKey: "a publish key, if `PUBLISH_KEYS` is set",
  clientToken: "the token of a client",
  tokenCookie: "a cookie with the token of a client",
};

function renderSecurity(
  security: NonNullable<OperationObject["security"]>,
): Html {
  const names = security.flatMap(Object.keys);
  const credentials = names.map((name) => CREDENTIALS[name] ?? name);
  return html`<p class="needs">Needs ${inline(credentials.join(", or "))}.</p>`;
}

function renderParameter(
  { name, in: where, required, description, schema }: ParameterObject,
): Html {
  return field(name, `${where}, ${required ? "required" : "optional"}`, {
    description,
    ...schema,
  });
}

function renderContent(content: ContentObject): Html[] {
  return Object.entries(content).map(([type, { schema }]) =>
    html`<h5><code>${type}</code></h5>
          ${renderSchema(schema)}`
  );
}

/** Renders responses. Shows the body only of those that are no errors, because all errors have the same body. */
function renderResponses(
  responses: Readonly<Record<string, ResponseObject>>,
): Html {
  return html`<dl class="responses">${
    Object.entries(responses).map(([status, response]) => {
      const { description, headers = {}, content = {} } = response;
      return html`
        <div>
          <dt><b>${status}</b></dt>
          <dd>
                    ${prose(description)}
                    ${Object.keys(headers).length === 0
                      ? ""
                      : html`<p class="headers">${
                        Object.entries(headers).map(([name, { description }]) =>
                          html`
                            <code>${name}</code>: ${inline(description)}
                          `
                        )
                      }</p>`}
                    ${status.startsWith("2") ? renderContent(content) : ""}
                  </dd>
        </div>
      `;
    })
  }</dl>`;
}
