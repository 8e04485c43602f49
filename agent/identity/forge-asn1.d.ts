// node-forge's ASN.1 alone: the package itself loads its ciphers and its TLS, too, of which nothing here makes use.
declare module 'node-forge/lib/asn1.js' {
  import type forge from 'node-forge'
  const asn1: typeof forge.asn1
  export { asn1 as default }
}
