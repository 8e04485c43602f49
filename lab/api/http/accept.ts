// Content negotiation: the Accept header → the form an answer takes. Pure.
// Source: Kubernetes API concepts "Alternate representations of resources", "Receiving resources as Tables".
import { ApiError } from '../status.ts'

export type Form =
  | { readonly as: 'object' }
  | { readonly as: 'table'; readonly version: string }
  | { readonly as: 'metadata'; readonly version: string }

const MEDIA = 'application/json'
const CLAUSE_LIMIT = 32

interface Clause {
  readonly media: string
  readonly parameters: Readonly<Record<string, string>>
}

/** The clauses of an Accept header, in the client's order. */
export function clausesOf(accept: string | undefined): Clause[] {
  const clauses = (accept || '*/*').split(',').slice(0, CLAUSE_LIMIT)
  return clauses.map((clause) => {
    const [media = '', ...parameters] = clause.split(';').map((part) => part.trim())
    return { media: media.toLowerCase(), parameters: Object.fromEntries(parameters.map(pairOf)) }
  })
}

function pairOf(parameter: string): [string, string] {
  const at = parameter.indexOf('=')
  return at < 0 ? [parameter, ''] : [parameter.slice(0, at), parameter.slice(at + 1)]
}

function isJson(media: string): boolean {
  return media === MEDIA || media === 'application/*' || media === '*/*'
}

/** The first form in the header that this server has. Throws 406 when there is none. */
export function formOf(accept: string | undefined): Form {
  for (const { media, parameters } of clausesOf(accept)) {
    const { as, v: version = 'v1', g: group } = parameters
    if (!isJson(media)) continue
    if (as === undefined || as === '') return { as: 'object' }
    if (group !== 'meta.k8s.io' || (version !== 'v1' && version !== 'v1beta1')) continue
    if (as === 'Table') return { as: 'table', version: `meta.k8s.io/${version}` }
    if (as === 'PartialObjectMetadata' || as === 'PartialObjectMetadataList') {
      return { as: 'metadata', version: `meta.k8s.io/${version}` }
    }
  }
  throw notAcceptable(MEDIA)
}

/** The version of APIGroupDiscoveryList the client takes, if it asks for one before plain JSON. */
export function aggregatedVersion(accept: string | undefined): 'v2' | 'v2beta1' | undefined {
  for (const { media, parameters } of clausesOf(accept)) {
    if (!isJson(media)) continue
    if (parameters['as'] === undefined) return undefined
    const version = parameters['v']
    if (parameters['as'] !== 'APIGroupDiscoveryList' || parameters['g'] !== 'apidiscovery.k8s.io') continue
    if (version === 'v2' || version === 'v2beta1') return version
  }
  return undefined
}

export function notAcceptable(media: string): ApiError {
  const message = `only the following media types are accepted: ${media}`
  return new ApiError(406, 'NotAcceptable', message)
}
