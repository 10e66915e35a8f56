import { createHash } from 'node:crypto';

const style = `
:root { color-scheme: light dark; }
body { font: 1rem/1.5 system-ui, sans-serif; margin: 0; display: grid; place-items: center; min-height: 100vh; background: #f2f3f5; color: #1a1d21; }
main { background: #fff; padding: 2rem; border-radius: 0.5rem; box-sizing: border-box; width: min(32rem, 100%); }
h1 { font-size: 1.4rem; margin: 0 0 1rem; }
label { display: block; font-weight: 600; margin-top: 1rem; }
input { font: inherit; width: 100%; box-sizing: border-box; padding: 0.5rem; margin-top: 0.25rem; border: 1px solid #6b7280; border-radius: 0.25rem; background: transparent; color: inherit; }
button { font: inherit; width: 100%; padding: 0.6rem; margin-top: 1.5rem; border: 1px solid #0b57d0; border-radius: 0.25rem; background: #0b57d0; color: #fff; cursor: pointer; }
button.other { background: transparent; color: inherit; }
:focus-visible { outline: 3px solid #f59e0b; outline-offset: 2px; }
[role=alert] { border-left: 4px solid #b91c1c; padding: 0.5rem 0.75rem; margin: 0 0 1rem; background: #fee2e2; color: #1a1d21; }
pre { white-space: pre-wrap; overflow-wrap: anywhere; padding: 0.75rem; border-radius: 0.25rem; background: #e5e7eb; color: #1a1d21; }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e5e7eb; } main { background: #22262c; } }
`;

/** Of every page here: nothing but their own style, and in nobody's frame. */
export const pageSecurityPolicy = [
  "default-src 'none'",
  `style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'`,
  "base-uri 'none'",
  // No form-action: browsers apply it to where the answer to a form leads, and that is any client's address.
  "frame-ancestors 'none'",
].join('; ');

/** HTML that may be put into other HTML as it is. */
class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Written in one piece: the policy has the hash of exactly this. */
const styleElement = new Html(`<style>${style}</style>`);

type Part = string | Html | undefined | readonly Html[];

/** A template in which everything but other HTML is escaped. */
function html(strings: TemplateStringsArray, ...parts: readonly Part[]): Html {
  return new Html(strings.map((string, index) => string + written(parts[index])).join(''));
}

function written(part: Part): string {
  if (part === undefined) return '';
  if (part instanceof Html) return part.text;
  if (typeof part === 'string') return escapeHtml(part);
  return part.map(({ text }) => text).join('');
}

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
};

function escapeHtml(text: string): string {
  return text.replace(/[&<>"']/g, (character) => entities[character]!);
}

function page(title: string, body: Html, head?: Html): string {
  const { text } = html`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <title>${title} - Weir</title>
        ${head} ${styleElement}
      </head>
      <body>
        <main>
          <h1>${title}</h1>
          ${body}
        </main>
      </body>
    </html> `;
  return text;
}

/** What the login page has to carry through, and what it says. */
export interface LoginPage {
  /** Sent back with the form, to be compared with the cookie. */
  readonly csrfToken: string;
  /** The query of the request for authorization that goes on afterwards; empty when a token is shown instead. */
  readonly request: string;
  /** A program that will act for whoever logs in, and where they are sent; undefined when they need not be told. */
  readonly client?: { readonly name: string; readonly destination: string } | undefined;
  /** Of the last attempt. */
  readonly problem?: string | undefined;
  readonly userName?: string | undefined;
  /** Names of other ways to log in. */
  readonly providers: readonly string[];
}

/** The page to log in. */
export function loginPage({ csrfToken, request, client, problem, userName = '', providers }: LoginPage): string {
  const carried = html`<input type="hidden" name="csrf" value="${csrfToken}" />
    <input type="hidden" name="request" value="${request}" />`;
  return page(
    'Sign in',
    html`${problem === undefined ? undefined : html`<p role="alert" id="problem">${problem}</p>`}
      ${client === undefined ? undefined : html`<p>Signing in lets <strong>${client.name}</strong> act for you, and sends you to <strong>${client.destination}</strong>.</p>`}
      <form method="post" action="/oauth/login">
        ${carried}
        <label for="username">User name</label>
        <input
          id="username"
          name="username"
          value="${userName}"
          autocomplete="username"
          autocapitalize="none"
          spellcheck="false"
          required
          maxlength="128"
          ${problem === undefined ? undefined : html` aria-describedby="problem"`}
        />
        <label for="password">Password</label>
        <input id="password" name="password" type="password" autocomplete="current-password" required maxlength="256" />
        <button type="submit">Sign in</button>
      </form>
      ${providers.map(
        (name) =>
          html`<form method="post" action="/oauth/login/${name}">
            ${carried}
            <button type="submit" class="other">Sign in with ${name}</button>
          </form>`,
      )}`,
  );
}

/** The page that shows a token, once. */
export function tokenPage({
  token,
  expiresAt,
  origin,
}: {
  readonly token: string;
  readonly expiresAt: Date;
  readonly origin: string;
}): string {
  const until = expiresAt.toISOString().slice(0, 16).replace('T', ' ');
  return page(
    'Your API token',
    html`<p>It is shown this once, and works until ${until} UTC. Whoever has it can act for you.</p>
      <pre>${token}</pre>
      <p>Log in with it:</p>
      <pre>oc login --token=${token} --server=${origin}</pre>
      <p><a href="/oauth/token/request">Ask for another token</a></p>`,
  );
}

/** A page for those who follow a program to where only programs look. */
export function implicitPage(): string {
  return page(
    'You are signed in',
    html`<p>The program that sent you here takes what it needs from the address of this page. You can close it.</p>
      <p><a href="/oauth/token/request">Show an API token instead</a></p>`,
  );
}

/** A page that says what went wrong. */
export function problemPage(problem: string): string {
  return page(
    'This did not work',
    html`<p role="alert">${problem}</p>
      <p><a href="/oauth/token/request">Sign in to get an API token</a></p>`,
  );
}

/**
 * A page that leads on to an identity provider. A redirection would be a step of the form's submission, which a browser
 * may refuse to make to another site.
 */
export function leadOnPage(provider: string, url: string): string {
  return page(
    `Sign in with ${provider}`,
    html`<p><a href="${url}" rel="noreferrer">Go on to ${provider}</a></p>`,
    html`<meta http-equiv="refresh" content="0; url=${url}" />`,
  );
}
