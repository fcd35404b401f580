// npm's oidc-provider with its state in memory, under the paths of Rolecall.
// Whoever comes to sign in is the person named in the settings, who is asked for the
// password if they have a hash of it, and else for nothing; prompts that would need
// another answer are refused by cancelling. It prints a line when it listens, and
// ends with its standard input.
import { generateKeyPairSync } from 'node:crypto'
import { verify } from '@node-rs/argon2'
import { Provider } from 'oidc-provider'

const settings = JSON.parse(process.env.SETTINGS)
const { issuer, clients, person } = settings

const jwk = (type, options, more) => ({ ...generateKeyPairSync(type, options).privateKey.export({ format: 'jwk' }), use: 'sig', ...more })

// Signed access tokens are for those who are registered for them.
const signs = new Map(clients.filter((c) => c.access_token !== 'opaque').map((c) => [c.client_id, c.access_token_signed_response_alg ?? 'ES256']))

// The state, all of it in memory: the adapter that comes with the package forgets
// what is old beyond a thousand entries.
const kept = new Map()
const ofGrant = new Map()
class Memory {
  constructor(model) { this.model = model }
  key(id) { return `${this.model}:${id}` }
  async upsert(id, payload) {
    kept.set(this.key(id), payload)
    if (payload.uid) kept.set(`uid:${payload.uid}`, id)
    if (payload.grantId) {
      if (!ofGrant.has(payload.grantId)) ofGrant.set(payload.grantId, [])
      ofGrant.get(payload.grantId).push(this.key(id))
    }
  }
  async find(id) {
    const payload = kept.get(this.key(id))
    return payload && (!payload.exp || payload.exp * 1000 > Date.now()) ? payload : undefined
  }
  async findByUid(uid) { return this.find(kept.get(`uid:${uid}`)) }
  async consume(id) { kept.get(this.key(id)).consumed = Math.floor(Date.now() / 1000) }
  async destroy(id) { kept.delete(this.key(id)) }
  async revokeByGrantId(id) {
    for (const key of ofGrant.get(id) ?? []) kept.delete(key)
    ofGrant.delete(id)
  }
}

const provider = new Provider(issuer, {
  adapter: Memory,
  clients: clients.map(({ access_token: format, access_token_signed_response_alg: alg, ...metadata }) => metadata),
  jwks: { keys: [jwk('ec', { namedCurve: 'P-256' }, { alg: 'ES256', kid: 'es256' }), jwk('rsa', { modulusLength: 2048 }, { alg: 'RS256', kid: 'rs256' })] },
  cookies: { keys: ['of a provider that lives as long as the run'], long: { sameSite: 'none' } },
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'] },
  scopes: ['openid', 'offline_access', 'profile', 'email'],
  findAccount: (ctx, id) => ({ accountId: id, claims: () => ({ sub: id, name: person.name, email: person.email, email_verified: true }) }),
  loadExistingGrant: async (ctx) => {
    const grant = new ctx.oidc.provider.Grant({ clientId: ctx.oidc.client.clientId, accountId: ctx.oidc.session.accountId })
    grant.addOIDCScope('openid profile email offline_access')
    await grant.save()
    return grant
  },
  issueRefreshToken: async (ctx, client) => client.grantTypeAllowed('refresh_token'),
  rotateRefreshToken: true,
  expiresWithSession: async () => false, // as with us, where no session is over
  enableHttpPostMethods: true,
  pkce: { required: () => true },
  ttl: { AccessToken: 300, ClientCredentials: 300, AuthorizationCode: 60, IdToken: 300, RefreshToken: 86400, Session: 86400, Grant: 86400, Interaction: 600 },
  interactions: { url: (ctx, interaction) => `/interaction/${interaction.uid}` },
  clientAuthMethods: ['client_secret_basic', 'client_secret_post', 'private_key_jwt', 'none'],
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    introspection: { enabled: true },
    revocation: { enabled: true },
    pushedAuthorizationRequests: { enabled: true },
    rpInitiatedLogout: { enabled: true },
    claimsParameter: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: (ctx, client) => (signs.has(client.clientId) && ctx.oidc.params?.grant_type === 'client_credentials' ? issuer : undefined),
      getResourceServerInfo: (ctx, resource, client) => ({ scope: '', audience: issuer, accessTokenFormat: 'jwt', accessTokenTTL: 300, jwt: { sign: { alg: signs.get(client.clientId) ?? 'ES256' } } }),
    },
  },
  routes: {
    authorization: '/oauth2/authorize', token: '/oauth2/token', userinfo: '/oauth2/userinfo', introspection: '/oauth2/introspect', revocation: '/oauth2/revoke',
    jwks: '/oauth2/keys', pushed_authorization_request: '/oauth2/par', end_session: '/oauth2/end_session',
  },
})

// The page that asks for the password, as plain as one can be.
const page = '<!DOCTYPE html><title>Sign in</title><form method="post"><input name="login"><input name="password" type="password"><button>Sign in</button></form>'

async function form(request) {
  const chunks = []
  for await (const chunk of request) chunks.push(chunk)
  return new URLSearchParams(Buffer.concat(chunks).toString())
}

// proven reports whether the password came with the request and is the person's. The
// hash says what it costs to look.
async function proven(request) {
  return request.method === 'POST' && await verify(person.password_hash, (await form(request)).get('password') ?? '')
}

provider.use(async (ctx, next) => {
  if (!ctx.path.startsWith('/interaction/')) return next()
  const { prompt } = await provider.interactionDetails(ctx.req, ctx.res)
  if (prompt.name === 'login' && person.password_hash && !await proven(ctx.req)) {
    ctx.type = 'html'
    ctx.body = page
    return
  }
  const result = prompt.name === 'login' ? { login: { accountId: person.id } } : { error: 'access_denied', error_description: `nobody answers the prompt ${prompt.name}` }
  await provider.interactionFinished(ctx.req, ctx.res, result)
  ctx.respond = false
})

const { port } = new URL(issuer)
const server = provider.listen(Number(port), '127.0.0.1', () => process.stdout.write('listening\n'))
server.keepAliveTimeout = 0 // a connection is not closed because it waits for its turn
process.stdin.on('end', () => process.exit(0)).resume()
