// npm's oauth4webapi as the strictest client: it authenticates by private_key_jwt,
// pushes its requests (PAR), and binds codes and tokens to a key (DPoP). The
// commands are those of client.mjs, and
//
//   introspect {token}          → the introspection
//   end        {id_token, to, state} → {url}

import { createInterface } from 'node:readline'
import * as oauth from 'oauth4webapi'

const { ISSUER, CLIENT_ID, PRIVATE_KEY, REDIRECT_URI } = process.env

// The server under test listens on loopback without TLS.
const insecure = { [oauth.allowInsecureRequests]: true }
const issuer = new URL(ISSUER)
const as = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oidc', ...insecure }))
const client = { client_id: CLIENT_ID }
const jwk = JSON.parse(PRIVATE_KEY)
const key = await crypto.subtle.importKey('jwk', jwk, { name: 'ECDSA', namedCurve: 'P-256' }, false, ['sign'])
const authentication = oauth.PrivateKeyJwt({ key, kid: jwk.kid })
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair('ES256'))

let pending

// again sends a request a second time where the server wants its nonce in the proof.
async function again(send, process) {
  try {
    return await process(await send())
  } catch (err) {
    if (!oauth.isDPoPNonceError(err)) throw err
    return process(await send())
  }
}

const commands = {
  async authorize({ scope, prompt }) {
    pending = { verifier: oauth.generateRandomCodeVerifier(), state: oauth.generateRandomState(), nonce: oauth.generateRandomNonce() }
    const parameters = new URLSearchParams({
      client_id: CLIENT_ID, redirect_uri: REDIRECT_URI, response_type: 'code', scope, state: pending.state, nonce: pending.nonce,
      code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier), code_challenge_method: 'S256',
    })
    if (prompt) parameters.set('prompt', prompt)
    const { request_uri } = await again(
      () => oauth.pushedAuthorizationRequest(as, client, authentication, parameters, { DPoP, ...insecure }),
      (response) => oauth.processPushedAuthorizationResponse(as, client, response))
    const url = new URL(as.authorization_endpoint)
    url.searchParams.set('client_id', CLIENT_ID)
    url.searchParams.set('request_uri', request_uri)
    return { url: url.href }
  },

  async callback({ url }) {
    const callback = oauth.validateAuthResponse(as, client, new URL(url), pending.state)
    return tokens(await again(
      () => oauth.authorizationCodeGrantRequest(as, client, authentication, callback, REDIRECT_URI, pending.verifier, { DPoP, ...insecure }),
      (response) => oauth.processAuthorizationCodeResponse(as, client, response, { expectedNonce: pending.nonce, requireIdToken: true })))
  },

  async refresh({ refresh_token }) {
    return tokens(await again(
      () => oauth.refreshTokenGrantRequest(as, client, authentication, refresh_token, { DPoP, ...insecure }),
      (response) => oauth.processRefreshTokenResponse(as, client, response)))
  },

  async introspect({ token }) {
    return oauth.processIntrospectionResponse(as, client, await oauth.introspectionRequest(as, client, authentication, token, insecure))
  },

  async userinfo({ access_token, sub }) {
    return again(() => oauth.userInfoRequest(as, client, access_token, { DPoP, ...insecure }), (response) => oauth.processUserInfoResponse(as, client, sub, response))
  },

  async end({ id_token, to, state }) {
    const url = new URL(as.end_session_endpoint)
    for (const [name, value] of Object.entries({ id_token_hint: id_token, post_logout_redirect_uri: to, state })) url.searchParams.set(name, value)
    return { url: url.href }
  },
}

function tokens(response) {
  return {
    id_token: response.id_token, claims: oauth.getValidatedIdTokenClaims(response), access_token: response.access_token,
    refresh_token: response.refresh_token, token_type: response.token_type,
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const { command, ...parameters } = JSON.parse(line)
  let answer
  try {
    answer = await commands[command](parameters)
  } catch (err) {
    answer = { error: err.error ?? err.cause?.[0]?.parameters?.error ?? err.code ?? err.name, description: err.error_description ?? err.message, status: err.status ?? 0 }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
