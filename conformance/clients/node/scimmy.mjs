// npm's scimmy with scimmy-routers, a SCIM server in memory on a free port of
// loopback, which it prints. It ends with its input.

import express from 'express'
import SCIMMY from 'scimmy'
import SCIMMYRouters from 'scimmy-routers'
import { randomUUID } from 'node:crypto'

const { TOKEN } = process.env

// keep declares a type whose resources are kept in a map.
function keep(type, name) {
  const all = new Map()
  const taken = (id, value) => [...all.values()].some(r => r.id !== id && r[name]?.toLowerCase() === value?.toLowerCase())
  SCIMMY.Resources.declare(type, {
    egress: resource => {
      if (resource.id && !all.has(resource.id)) throw new SCIMMY.Types.Error(404, null, `Resource ${resource.id} not found`)
      return resource.id ? all.get(resource.id) : [...all.values()]
    },
    ingress: (resource, data) => {
      const id = resource.id ?? randomUUID()
      if (resource.id && !all.has(id)) throw new SCIMMY.Types.Error(404, null, `Resource ${id} not found`)
      const plain = JSON.parse(JSON.stringify(data))
      if (taken(id, plain[name])) throw new SCIMMY.Types.Error(409, 'uniqueness', `${name} is taken`)
      const now = new Date()
      all.set(id, { ...plain, id, meta: { created: all.get(id)?.meta.created ?? now, lastModified: now } })
      return all.get(id)
    },
    degress: resource => {
      if (!all.delete(resource.id)) throw new SCIMMY.Types.Error(404, null, `Resource ${resource.id} not found`)
    },
  })
}

SCIMMY.Schemas.User.definition.extend(SCIMMY.Schemas.EnterpriseUser.definition, false)
keep(SCIMMY.Resources.User, 'userName')
keep(SCIMMY.Resources.Group, 'displayName')

const app = express()
app.use('/scim', new SCIMMYRouters({
  type: 'bearer',
  handler: request => {
    if (request.header('Authorization') !== `Bearer ${TOKEN}`) throw new Error('no')
    return 'rolecall'
  },
}))
const server = app.listen(0, '127.0.0.1', () => console.log(server.address().port))
process.stdin.resume()
process.stdin.on('end', () => process.exit(0))
