// npm's openid-client, driven by the Go tests of the folder above: a command in
// JSON on each line of the standard input, its answer on one of the standard output.
//
//   authorize {scope, prompt?}  → {url}
//   callback  {url}             → tokens
//   refresh   {refresh_token}   → tokens
//   introspect {token}          → the introspection
//   userinfo  {access_token, sub} → the userinfo
//   end       {id_token, to, state} → {url}
//
// Tokens are {id_token, claims, access_token, refresh_token}, claims those of the
// ID token that openid-client has verified. What fails is {error, description, status}.

import { createInterface } from 'node:readline'
import * as client from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI } = process.env

// The server under test listens on loopback without TLS.
const config = await client.discovery(new URL(ISSUER), CLIENT_ID, undefined,
  CLIENT_SECRET ? client.ClientSecretBasic(CLIENT_SECRET) : client.None(),
  { execute: [client.allowInsecureRequests] })

let pending

const commands = {
  async authorize({ scope, prompt }) {
    pending = {
      pkceCodeVerifier: client.randomPKCECodeVerifier(),
      expectedState: client.randomState(),
      expectedNonce: client.randomNonce(),
      idTokenExpected: true,
    }
    const parameters = {
      redirect_uri: REDIRECT_URI,
      scope,
      state: pending.expectedState,
      nonce: pending.expectedNonce,
      code_challenge: await client.calculatePKCECodeChallenge(pending.pkceCodeVerifier),
      code_challenge_method: 'S256',
    }
    if (prompt) parameters.prompt = prompt
    return { url: client.buildAuthorizationUrl(config, parameters).href }
  },

  async callback({ url }) {
    return tokens(await client.authorizationCodeGrant(config, new URL(url), pending))
  },

  async refresh({ refresh_token }) {
    return tokens(await client.refreshTokenGrant(config, refresh_token))
  },

  introspect: ({ token }) => client.tokenIntrospection(config, token),

  end: ({ id_token, to, state }) => ({ url: client.buildEndSessionUrl(config, { id_token_hint: id_token, post_logout_redirect_uri: to, state }).href }),

  userinfo: ({ access_token, sub }) => client.fetchUserInfo(config, access_token, sub),
}

function tokens(response) {
  return {
    id_token: response.id_token,
    claims: response.claims(),
    access_token: response.access_token,
    refresh_token: response.refresh_token,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line)
  let answer
  try {
    answer = await commands[command](parameters)
  } catch (err) {
    answer = {
      error: err.error ?? err.cause?.[0]?.parameters?.error ?? err.code ?? err.name,
      description: err.error_description ?? err.message,
      status: err.status ?? err.response?.status ?? 0,
    }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
