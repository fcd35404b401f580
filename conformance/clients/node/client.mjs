// npm's openid-client, driven by the Go tests of the folder above: a command in
// JSON on each line of the standard input, its answer on one of the standard output.
//
//   authorize {scope, prompt?}  → {url}
//   callback  {url}             → tokens
//   refresh   {refresh_token}   → tokens
//   introspect {token}          → the introspection
//   userinfo  {access_token, sub} → the userinfo
//   end       {id_token, to, state} → {url}
//   registered {}               → what the client is registered as
//   unregister {}               → {status}
//
// With INITIAL_ACCESS_TOKEN it registers itself, and has no CLIENT_ID before.
//
// Tokens are {id_token, claims, access_token, refresh_token}, claims those of the
// ID token that openid-client has verified. What fails is {error, description, status}.

import { createInterface } from 'node:readline'
import * as client from 'openid-client'

const { ISSUER, CLIENT_ID, CLIENT_SECRET, REDIRECT_URI, INITIAL_ACCESS_TOKEN } = process.env

// The server under test listens on loopback without TLS.
const execute = [client.allowInsecureRequests]

// What it registers as is that by which openid-client authenticates.
const config = INITIAL_ACCESS_TOKEN
  ? await client.dynamicClientRegistration(new URL(ISSUER), {
    client_name: 'Visitor',
    redirect_uris: [REDIRECT_URI],
    grant_types: ['authorization_code', 'refresh_token'],
    token_endpoint_auth_method: 'client_secret_post',
  }, undefined, { execute, initialAccessToken: INITIAL_ACCESS_TOKEN })
  : await client.discovery(new URL(ISSUER), CLIENT_ID, undefined,
    CLIENT_SECRET ? client.ClientSecretBasic(CLIENT_SECRET) : client.None(), { execute })

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

  registered: () => config.clientMetadata(),

  async unregister() {
    const { registration_client_uri, registration_access_token } = config.clientMetadata()
    const response = await fetch(registration_client_uri, { method: 'DELETE', headers: { authorization: `Bearer ${registration_access_token}` } })
    return { status: response.status }
  },

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
