import type Router from '@koa/router';
import { z } from 'zod';
import { requestOrigin } from '../http.js';
import { leadOnPage, problemPage } from './login-pages.js';
import {
  answeringProblems,
  clearCookie,
  finishLogin,
  hasCsrfToken,
  hostCookie,
  keepPrincipal,
  readForm,
  sendLoginForm,
  sendPage,
  setCookie,
  type HostCookie,
  type LoginOptions,
} from './login-routes.js';
import { OidcError, type OidcSignIn } from './oidc.js';

/** What the cookie of a sign-in holds. It is the browser's own: whoever has another one cannot end this sign-in. */
const attemptCookie = z.object({
  provider: z.string(),
  state: z.string(),
  nonce: z.string(),
  verifier: z.string(),
  goal: z.string(),
});

/** Signing in with an identity provider: away from the login page, and back to what it was for. */
export function oidcRoutes(router: Router, options: LoginOptions, signIn: OidcSignIn): void {
  const { server, logins, publicUrl } = options;
  const callbackPath = `/oauth/callback/${signIn.name}`;

  router.post(`/oauth/login/${signIn.name}`, (ctx) =>
    answeringProblems(ctx, async () => {
      const form = await readForm(ctx);
      const goal = form.get('request') ?? '';
      const origin = requestOrigin(ctx, publicUrl);
      // What cannot be gone on with is not begun.
      if (goal !== '') await server.parse(goal, origin);
      if (!hasCsrfToken(ctx, options, form)) {
        const problem = 'This page was open for too long, or your browser keeps no cookies. Please try again.';
        await sendLoginForm(ctx, options, { goal, status: 403, problem });
        return;
      }
      try {
        const { url, attempt } = await signIn.begin(origin + callbackPath);
        const kept = { provider: signIn.name, ...attempt, goal };
        setCookie(ctx, cookieOf(origin), Buffer.from(JSON.stringify(kept)).toString('base64url'));
        sendPage(ctx, 200, leadOnPage(signIn.name, url));
      } catch (error) {
        if (!(error instanceof OidcError)) throw error;
        report(ctx.app, error);
        await sendLoginForm(ctx, options, { goal, status: 503, problem: `${error.message}.` });
      }
    }),
  );

  router.get(callbackPath, (ctx) =>
    answeringProblems(ctx, async () => {
      const origin = requestOrigin(ctx, publicUrl);
      const attempt = parseAttempt(ctx.cookies.get(cookieOf(origin).name) ?? '');
      // Whatever comes of it, it is good for one try.
      clearCookie(ctx, cookieOf(origin));
      if (attempt?.provider !== signIn.name) {
        sendPage(ctx, 403, problemPage('This sign-in was not begun in this browser, or has taken too long.'));
        return;
      }
      try {
        const url = new URL(`${origin}${callbackPath}?${ctx.querystring}`);
        const user = await logins.completeLogin(await signIn.finish(url, attempt));
        keepPrincipal(ctx, user);
        await finishLogin(ctx, options, attempt.goal, user);
      } catch (error) {
        if (!(error instanceof OidcError)) throw error;
        report(ctx.app, error);
        sendPage(ctx, 403, problemPage(`${error.message}.`));
      }
    }),
  );
}

function cookieOf(origin: string): HostCookie {
  return hostCookie('weir-sign-in', origin, 600);
}

function parseAttempt(text: string): z.output<typeof attemptCookie> | undefined {
  try {
    return attemptCookie.safeParse(JSON.parse(Buffer.from(text, 'base64url').toString('utf8'))).data;
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** Who runs this server has to know; of the cause only what it says, for it may hold claims and tokens. */
function report(app: { emit: (event: 'error', error: Error) => boolean }, error: OidcError): void {
  const { cause } = error;
  if (!(cause instanceof Error)) return;
  const why = cause.cause instanceof Error ? `${cause.message}: ${cause.cause.message}` : cause.message;
  app.emit('error', new Error(`${error.message}: ${why}`));
}
