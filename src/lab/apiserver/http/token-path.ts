// Credentials in the path. kubectl and other Go clients send a bearer token over TLS only, and this server speaks plain HTTP; a
// server URL that ends in `/as/<token>` says who its requests come from instead.

const pattern = /^\/as\/([^/?]+)(?=[/?]|$)/

/** What to append to a server's URL so that requests through it are made with this token. */
export const tokenPath = (token: string): string => `/as/${encodeURIComponent(token)}`

/** Takes the token off a request's URL. */
export function splitTokenPath(url: string): { readonly token: string | undefined; readonly url: string } {
  const match = pattern.exec(url)
  if (match === null) return { token: undefined, url }
  const rest = url.slice(match[0].length)
  return { token: decodeURIComponent(match[1] ?? ''), url: rest.startsWith('/') ? rest : `/${rest}` }
}
