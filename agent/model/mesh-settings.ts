// What holds for the whole mesh, as its operators have set it (the fields of Istio's meshConfig that have an effect here).

/** Settings of the mesh. */
export interface MeshSettings {
  /** What becomes of connections to addresses that nothing in the mesh stands for (outboundTrafficPolicy.mode). */
  readonly outboundTrafficPolicy: 'ALLOW_ANY' | 'REGISTRY_ONLY'
  /** Whether access records are written (accessLogFile); null: as the agent's own setting has it. */
  readonly accessLog: boolean | null
}

/** Where nobody has set anything: Istio's defaults. */
export const DEFAULT_MESH_SETTINGS: MeshSettings = { outboundTrafficPolicy: 'ALLOW_ANY', accessLog: null }
