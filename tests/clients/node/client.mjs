// Gets an access token, or exchanges one, with openid-client, the strictest client there is: it checks the server's metadata (RFC 8414) before it asks.
import { parseArgs } from 'node:util'
import * as oauth from 'openid-client'

const text = { type: 'string' }
const { values: flags } = parseArgs({
  options: { issuer: text, 'client-id': text, resource: text, scope: text, 'auth-method': text },
})

const secret = process.env.CLIENT_SECRET
// The library's own way for what it does not make itself: the assertion is somebody else's, here the kubelet's.
const assertion = (_server, client, body) => {
  body.set('client_id', client.client_id)
  body.set('client_assertion_type', 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer')
  body.set('client_assertion', process.env.CLIENT_ASSERTION)
}
const signing = async () => {
  const curve = { name: 'ECDSA', namedCurve: 'P-256' }
  const key = await crypto.subtle.importKey('pkcs8', Buffer.from(process.env.CLIENT_KEY, 'base64'), curve, false, ['sign'])
  return oauth.PrivateKeyJwt(key)
}
const methods = { private_key_jwt: signing, client_secret_post: () => oauth.ClientSecretPost(secret), client_assertion: () => assertion }
const authentication = (await methods[flags['auth-method']]?.()) ?? oauth.ClientSecretBasic(secret)
const issuer = new URL(flags.issuer)
const execute = issuer.protocol === 'http:' ? [oauth.allowInsecureRequests] : []

try {
  const server = await oauth.discovery(issuer, flags['client-id'], undefined, authentication, { algorithm: 'oauth2', execute })
  const parameters = {}
  if (flags.resource) parameters.resource = flags.resource
  if (flags.scope) parameters.scope = flags.scope
  if (process.env.SUBJECT_TOKEN) {
    parameters.subject_token = process.env.SUBJECT_TOKEN
    parameters.subject_token_type = 'urn:ietf:params:oauth:token-type:access_token'
    const exchange = 'urn:ietf:params:oauth:grant-type:token-exchange'
    console.log(JSON.stringify(await oauth.genericGrantRequest(server, exchange, parameters)))
  } else {
    console.log(JSON.stringify(await oauth.clientCredentialsGrant(server, parameters)))
  }
} catch (failure) {
  // A refusal with a challenge, as RFC 6749 wants for Basic, is reported as the challenge: the code is in the answer itself.
  const answer = failure.response?.bodyUsed === false ? await failure.response.json().catch(() => ({})) : {}
  const refusal = failure.error ?? answer.error
  if (refusal) {
    console.log(JSON.stringify({ error: refusal }))
  } else {
    console.error(failure)
    process.exitCode = 1
  }
}
