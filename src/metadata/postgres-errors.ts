/** The database cannot be reached, and could not for as long as it was tried. */
export class DatabaseUnavailableError extends Error {
  override readonly name = 'DatabaseUnavailableError';
  constructor(cause: unknown) {
    super(`the database does not answer: ${messageOf(cause)}`, { cause });
  }
}

/** The connection broke before anything was committed on it. */
export class ConnectionLostError extends Error {
  override readonly name = 'ConnectionLostError';
  constructor(cause: unknown) {
    super(`the connection to the database was lost: ${messageOf(cause)}`, { cause });
  }
}

/** The connection broke after a commit was sent and before its answer came. It is not known whether it was done. */
export class CommitUnknownError extends Error {
  override readonly name = 'CommitUnknownError';
  constructor(cause: unknown) {
    super(`the connection to the database was lost while it committed: ${messageOf(cause)}`, { cause });
  }
}

/** Whether the database could not be asked, so that trying again later may help. */
export function isDatabaseOutage(error: unknown): boolean {
  return (
    error instanceof DatabaseUnavailableError ||
    error instanceof ConnectionLostError ||
    error instanceof CommitUnknownError
  );
}

const serializationFailure = '40001';
const deadlockDetected = '40P01';

/** Of connections that are gone, and of servers that go away, come up, or have become standbys. */
const lossCodes = new Set([
  ...['ECONNREFUSED', 'ECONNRESET', 'ECONNABORTED', 'EPIPE', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOENT'],
  ...['ENOTFOUND', 'EAI_AGAIN'],
  // admin_shutdown, crash_shutdown, cannot_connect_now, idle_session_timeout, idle_in_transaction_session_timeout,
  // read_only_sql_transaction, too_many_connections
  ...['57P01', '57P02', '57P03', '57P05', '25P03', '25006', '53300'],
]);

/** What the driver says in words alone. */
const lossMessage =
  /^(Connection terminated|Client has encountered a connection error|Query read timeout|timeout expired)/;

/** Whether an error of the driver says that the connection is of no use any more, or could not be made for now. */
export function isConnectionLoss(error: unknown): boolean {
  const code = codeOf(error);
  if (code !== undefined && (lossCodes.has(code) || code.startsWith('08'))) return true;
  return error instanceof Error && (lossMessage.test(error.message) || isStalePlan(error));
}

/** Whether the connection was known to be broken, so that the statement never left this process. */
export function isUnsent(error: unknown): boolean {
  return error instanceof Error && error.message.endsWith('is not queryable');
}

/** Whether a transaction that ended with this has done nothing, and may do better the next time. */
export function isWorthRepeating(error: unknown): boolean {
  if (error instanceof ConnectionLostError) return true;
  return [serializationFailure, deadlockDetected].includes(codeOf(error) ?? '');
}

/** Statements that were prepared before a migration gave a table another column; a new connection knows better. */
function isStalePlan(error: Error): boolean {
  return codeOf(error) === '0A000' && error.message.includes('cached plan must not change result type');
}

function codeOf(error: unknown): string | undefined {
  const { code } = (error ?? {}) as { readonly code?: unknown };
  return typeof code === 'string' ? code : undefined;
}

function messageOf(error: unknown): string {
  // Node tries several addresses, and says what was wrong with each.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join(', ');
  return error instanceof Error ? error.message : String(error);
}
