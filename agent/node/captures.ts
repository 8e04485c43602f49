// Which pods of the node are captured, against which should be: brought in line whenever the node's pods change, and on a
// tick, fast while they differ.
//
//   wanted → captured → held by the data side → proved by a self-dial → announced
//   told of by CNI → captured at once, before its first process → then as any other
//   unwanted → announcement withdrawn → loosened (what it dials goes direct) → released, leaveMs later

import { Announcements } from './announcements.ts'
import type { CapturesOptions, StartMarks } from './captures-options.ts'
import type { Captured } from '../kernel/kernel.ts'
import { reconcile, type Standing } from '../kernel/reconcile.ts'
import type { Workload } from '../model/workload.ts'
import type { PodStatus } from '../telemetry/status.ts'
import { type Place, Places } from './places.ts'

/** How often all captures are looked over: what happens in the kernel or in a namespace shows in no change of the pod. */
const LOOK_OVER_MS = 5_000
/** How long a stop waits for the API server: the kubelet kills after 30 s, and open requests need their part of that. */
const FAREWELL_MS = 3_000

/** Keeps captures as they are wanted. All its work is one at a time, in order. */
export class Captures {
  readonly #options: CapturesOptions
  readonly #announcements: Announcements
  readonly #places = new Places()
  readonly #fromStart: StartMarks
  #pods: readonly Workload[] | null = null
  #standings: ReadonlyMap<string, Standing> = new Map()
  /** What the data side holds, by uid. */
  readonly #told = new Map<string, Captured>()
  /** Cookie of the namespace that a pod's capture was proved in, by uid. */
  readonly #proved = new Map<string, string>()
  /** Pods whose proof is under way, or was in vain a moment ago. */
  readonly #proving = new Set<string>()
  /** Pods whose last proof was in vain. */
  readonly #refuted = new Set<string>()
  /** Since when pods leave, by uid; null: the announcement is not withdrawn yet. */
  readonly #leaving = new Map<string, number | null>()
  /** Resolved at the next change. */
  #change = Promise.withResolvers<void>()
  /** Why a pod is not captured, as last logged. */
  readonly #reasons = new Map<string, string>()
  /** What keeps the node from capturing as it should, a sentence each. */
  #lacks: readonly string[] = []
  #running: Promise<void> | null = null
  #stale = false
  #started = false
  #hasBegun = false
  #stopped = false
  #next: NodeJS.Timeout | null = null

  constructor(options: CapturesOptions) {
    this.#options = options
    this.#announcements = new Announcements(options)
    this.#fromStart = options.fromStart ?? new Set<string>()
  }

  /** From now on captures are brought in line; before, what want() says is only kept. */
  start(): void {
    this.#started = true
    this.#wake()
  }

  /** Takes the node's pods as they are now. Cheap where nothing changed that bears on captures. */
  want(localPods: readonly Workload[]): void {
    const isSame = this.#pods !== null && textOf(localPods) === textOf(this.#pods)
    this.#pods = localPods
    if (!isSame) this.#wake()
  }

  /** Whether they have been brought in line once since the start. */
  get hasBegun(): boolean {
    return this.#hasBegun
  }

  /** What bears on captures beside the pods has changed. */
  look(): void {
    this.#wake()
  }

  /** Resolves when something that bears on captures has changed. */
  nextChange(): Promise<void> {
    return this.#change.promise
  }

  /** This node's pod of that uid, or of that name where no uid is given. */
  podOf({ uid, namespace, pod }: { readonly uid: string; readonly namespace: string; readonly pod: string }) {
    return this.#pods?.find((each) =>
      uid === '' ? each.namespace === namespace && each.name === pod : each.uid === uid,
    )
  }

  /** Captures a pod where the runtime says that it is, now. Returns why that cannot be, or null: it is in force. */
  captureAt({ uid }: Workload, place: Place): string | null {
    const pod = this.#pods?.find((each) => each.uid === uid)
    if (pod === undefined || !this.#started || this.#stopped) return 'the agent does not capture now'
    try {
      this.#places.put(uid, place)
      const { ips, terms } = this.#places.placed(pod)
      if (!this.#isToBeCaptured(pod)) return ips.length === 0 ? 'no address yet' : this.#options.lackOf(pod)
      const captured = this.#options.kernel.capture({ uid, ips, terms, netns: place.netns })
      this.#fromStart.add(markOf(captured))
      this.#tellOf(uid, { captured: true, pod: captured })
      this.#keepPlaced(uid)
    } catch (error) {
      return (error as Error).message
    }
    this.#wake() // to be proved
    return null
  }

  /** A pod's sandbox has ended. */
  leavePlace(uid: string, containerId: string): void {
    this.#places.drop(uid, containerId)
  }

  /** Whether a pod's capture is in force, and began before any process of it. */
  isFromStart(uid: string): boolean {
    const captured = this.#told.get(uid)
    return captured !== undefined && this.#fromStart.has(markOf(captured))
  }

  /** What keeps the node from capturing as it should, a sentence each. */
  get lacks(): readonly string[] {
    return this.#lacks
  }

  /** Joined pods that are not captured, counted by reason. */
  uncaptured(): ReadonlyMap<string, number> {
    const reasons = new Map<string, number>()
    for (const { reason, state } of this.standings()) {
      if (state !== 'leaving' && reason !== null) reasons.set(reason, (reasons.get(reason) ?? 0) + 1)
    }
    return reasons
  }

  /** How every joined pod stands, and every one that is not let go of yet. */
  standings(): readonly PodStatus[] {
    return (this.#pods ?? []).flatMap((pod) => {
      const { namespace, name, uid, ips, terms } = pod
      const isLeaving = !pod.joined && this.#told.has(uid)
      if (!pod.joined && !isLeaving) return []
      const reason = isLeaving ? 'it left the mesh' : this.#reasonAgainst(pod)
      const state = isLeaving ? 'leaving' : pod.unfit !== null ? 'uncaptured' : reason === null ? 'captured' : 'pending'
      return [
        {
          ...{ namespace, name, uid, ips, state, reason, onLoss: terms.onLoss },
          olderConnections: this.#options.older(uid),
          fromStart: this.isFromStart(uid),
          ...this.#options.securityOf(pod),
        },
      ]
    })
  }

  /**
   * Stops. `release`: every announcement is withdrawn, then every pod left, so that nothing is turned to a data side that
   * drains. `keep`: what outlives this agent stays as it is, for the next one.
   */
  async stop(how: 'keep' | 'release'): Promise<void> {
    this.#stopped = true
    if (this.#next !== null) clearTimeout(this.#next)
    this.#places.close()
    const { promise: late, resolve } = Promise.withResolvers<void>()
    const farewell = setTimeout(resolve, FAREWELL_MS)
    await Promise.race([how === 'keep' ? this.#running : this.#withdrawAll(), late])
    clearTimeout(farewell)
    if (how === 'keep') return
    const { kernel } = this.#options
    for (const uid of kernel.captured().keys()) kernel.release(uid)
  }

  async #withdrawAll(): Promise<void> {
    await this.#running
    this.#announcements.hurry()
    // what was announced a moment ago may not have come back by the watch yet
    const announced = (this.#pods ?? []).filter((pod) => this.#announcements.isOurs(pod) || this.#proved.has(pod.uid))
    await Promise.all(announced.map((pod) => this.#announcements.tell(pod, false)))
  }

  #wake(): void {
    this.#change.resolve()
    this.#change = Promise.withResolvers()
    if (this.#stopped || !this.#started || this.#pods === null) return
    this.#stale = true
    this.#running ??= this.#run().finally(() => (this.#running = null))
  }

  async #run(): Promise<void> {
    while (this.#stale && !this.#stopped) {
      this.#stale = false
      const waitMs = await this.#bringInLine(this.#pods ?? []).catch((error: unknown) => {
        this.#options.log.warn({ reason: (error as Error).message }, 'captures cannot be brought in line')
        return LOOK_OVER_MS
      })
      if (this.#stopped) return
      if (this.#next !== null) clearTimeout(this.#next)
      this.#next = setTimeout(() => this.#wake(), waitMs)
    }
  }

  /** One comparison and what follows from it. Returns after how many milliseconds to do it again. */
  async #bringInLine(pods: readonly Workload[]): Promise<number> {
    const { kernel, find } = this.#options
    this.#forgetAllBut(new Set(pods.map(({ uid }) => uid)))
    const notWanted = pods.filter((pod) => !this.#isToBeCaptured(pod))
    // an announcement is withdrawn before the capture ends, whichever agent of this node made it
    const withdrawn = await Promise.all(notWanted.map((pod) => this.#withdraw(pod)))
    if (this.#stopped) return LOOK_OVER_MS
    // those that CNI told of meanwhile are captured already, and must not be let go
    const wanted = this.#withPlaced(pods).filter((pod) => this.#isToBeCaptured(pod))
    const wantedUids = new Set(wanted.map(({ uid }) => uid))
    const others = pods.filter(({ uid }) => !wantedUids.has(uid))
    const addressed = new Set(pods.filter(({ ips }) => ips.length > 0).map(({ uid }) => uid))
    const { announced, leaving } = this.#stillHeld(others)
    this.#standings = await reconcile(
      kernel,
      {
        wanted: wanted.map((pod) => this.#places.placed(pod)).map(({ uid, ips, terms }) => ({ uid, ips, terms })),
        ...{ announced, leaving, others: others.map(({ uid }) => uid), isOver: () => this.#stopped },
      },
      this.#places.find(find, (uid) => addressed.has(uid)),
    )
    if (this.#stopped) return LOOK_OVER_MS
    for (const uid of kernel.captured().keys()) if (this.#places.has(uid)) this.#keepPlaced(uid)
    this.#letGo(pods)
    this.#tellDataSide()
    this.#hasBegun = true
    this.#lookOver()
    if (wanted.every(({ uid }) => this.#standings.get(uid)?.captured === true)) kernel.dropOtherLayouts()
    const staying = pods.filter(({ uid }) => wantedUids.has(uid))
    const told = await Promise.all(staying.map((pod) => this.#proveAndAnnounce(pod)))
    const waits = [...withdrawn, ...told].filter((ms) => ms !== null)
    const untilLeft = leaving.size > 0 ? [this.#options.leaveMs / 4] : []
    return Math.min(LOOK_OVER_MS, ...waits, ...untilLeft)
  }

  /** The pods, with those that CNI has told of since they were taken. */
  #withPlaced(pods: readonly Workload[]): readonly Workload[] {
    const known = new Set(pods.map(({ uid }) => uid))
    return [...pods, ...(this.#pods ?? []).filter(({ uid }) => this.#places.has(uid) && !known.has(uid))]
  }

  /** What was captured while all others were brought in line stands as it is. */
  #keepPlaced(uid: string): void {
    const pod = this.#options.kernel.captured().get(uid)
    if (pod === undefined || this.#standings.get(uid)?.captured === true) return
    this.#standings = new Map(this.#standings).set(uid, { captured: true, pod })
  }

  /**
   * One that is not captured yet and may go direct waits for its certificate: calls that leave it would only fail. What is
   * captured stays so.
   */
  #isToBeCaptured(pod: Workload): boolean {
    const { uid, ips, terms, joined, unfit, captured } = this.#places.placed(pod)
    if (!joined || unfit !== null || ips.length === 0) return false
    return terms.onLoss === 'closed' || captured !== null || this.#told.has(uid) || this.#options.lackOf(pod) === null
  }

  /** The programs themselves, and what others have put before them. */
  #lookOver(): void {
    const { kernel, log } = this.#options
    const lacks = kernel.look()
    for (const lack of lacks) if (!this.#lacks.includes(lack)) log.warn({ reason: lack }, 'capture is degraded')
    this.#lacks = lacks
  }

  /** Withdraws the word for a pod that is not wanted, and notes since when it leaves. Returns as Announcements.tell(). */
  async #withdraw(pod: Workload): Promise<number | null> {
    const { uid } = pod
    if (this.#told.has(uid) && !this.#leaving.has(uid)) this.#leaving.set(uid, null)
    const waitMs = pod.captured === null && !this.#proved.has(uid) ? null : await this.#announcements.tell(pod, false)
    if (waitMs !== null) return waitMs
    this.#proved.delete(uid)
    if (this.#leaving.get(uid) === null) this.#leaving.set(uid, performance.now())
    return null
  }

  /** Pods that left and are not to be released yet: those still announced, and those that are not. */
  #stillHeld(others: readonly Workload[]): { announced: ReadonlySet<string>; leaving: ReadonlySet<string> } {
    const uids = new Set(others.map(({ uid }) => uid))
    for (const [uid, sinceMs] of this.#leaving) {
      const isOver = sinceMs !== null && performance.now() - sinceMs >= this.#options.leaveMs
      if (isOver || !uids.has(uid)) this.#leaving.delete(uid) // it is through, gone, or wanted again
    }
    const held = (isAnnounced: boolean): ReadonlySet<string> =>
      new Set([...this.#leaving].filter(([, sinceMs]) => (sinceMs === null) === isAnnounced).map(([uid]) => uid))
    return { announced: held(true), leaving: held(false) }
  }

  #forgetAllBut(known: ReadonlySet<string>): void {
    for (const map of [this.#reasons, this.#proved, this.#leaving, this.#refuted]) {
      for (const uid of map.keys()) if (!known.has(uid)) map.delete(uid)
    }
    this.#announcements.forgetAllBut(known)
    this.#places.keepOnly(new Set([...known, ...(this.#pods ?? []).map(({ uid }) => uid)]))
  }

  /** After the kernel's release: until then connects are turned to listeners that someone must accept on. */
  #letGo(pods: readonly Workload[]): void {
    for (const uid of this.#told.keys()) {
      if (this.#standings.get(uid)?.captured === true || this.#leaving.has(uid)) continue
      for (const map of [this.#told, this.#reasons, this.#proved]) map.delete(uid)
      const gone = !pods.some((pod) => pod.uid === uid)
      this.#options.data.release(uid, gone)
      this.#options.log.info({ uid, gone }, 'pod released')
    }
  }

  #tellDataSide(): void {
    for (const [uid, standing] of this.#standings) this.#tellOf(uid, standing)
  }

  #tellOf(uid: string, standing: Standing): void {
    if (!standing.captured) return this.#logOnce(uid, standing.why)
    const told = this.#told.get(uid)
    if (told === standing.pod) return
    // captured anew: other listeners, and another cookie where its sandbox was made anew
    if (told !== undefined) this.#options.data.release(uid, told.cookie !== standing.pod.cookie)
    this.#proved.delete(uid) // of what was there before
    this.#options.data.capture(standing.pod)
    this.#told.set(uid, standing.pod)
    this.#reasons.delete(uid)
    this.#options.log.info({ uid, ips: standing.pod.ips }, 'pod captured')
  }

  #logOnce(uid: string, why: string): void {
    if (this.#reasons.get(uid) === why) return
    this.#reasons.set(uid, why)
    this.#options.log.info({ uid, why }, 'pod not captured yet')
  }

  /**
   * Announces a captured pod once it is proved, and withdraws our word for one that is not captured (any more). Returns
   * null where it is done, or will be with the proof, else after how many milliseconds to try again.
   */
  async #proveAndAnnounce(pod: Workload): Promise<number | null> {
    const standing = this.#standings.get(pod.uid)
    const isCaptured = standing?.captured === true
    const isProved = isCaptured && this.#proved.get(pod.uid) === standing.pod.cookie
    if (isCaptured && !isProved) this.#prove(standing.pod)
    // what an agent before us has announced stands until we know better
    if (isCaptured && !isProved && !this.#refuted.has(pod.uid)) return null
    // it is announced once it can take the mesh's TLS, and stays so when its certificate is over: calls to it are to fail
    // then, and not to go on in plaintext
    const isReady = this.#announcements.isOurs(pod) || (pod.ips.length > 0 && this.#options.lackOf(pod) === null)
    const waitMs = await this.#announcements.bringInLine(pod, isProved && isReady)
    return waitMs ?? (isCaptured ? null : this.#options.retryMs)
  }

  /** Once a namespace: what changes later shows in capture(). Nobody waits for it: it may take its time. */
  #prove({ uid, cookie }: Captured): void {
    if (this.#proving.has(uid)) return
    this.#proving.add(uid)
    const again = (): void => {
      this.#proving.delete(uid)
      this.#wake()
    }
    this.#options.kernel.prove(uid).then(
      () => {
        this.#proved.set(uid, cookie)
        for (const set of [this.#refuted, this.#reasons]) set.delete(uid)
        again()
      },
      (error: unknown) => {
        this.#refuted.add(uid)
        this.#logOnce(uid, (error as Error).message)
        this.#wake() // its announcement is withdrawn
        setTimeout(again, this.#options.retryMs).unref()
      },
    )
  }

  #reasonAgainst(pod: Workload): string | null {
    if (pod.unfit !== null) return pod.unfit
    if (pod.ips.length === 0 && !this.#places.has(pod.uid)) return 'no address yet'
    const lack = this.#options.lackOf(pod)
    const standing = this.#standings.get(pod.uid)
    if (standing === undefined) return lack ?? 'not looked for yet'
    if (!standing.captured) return standing.why
    const isProved = this.#proved.get(pod.uid) === standing.pod.cookie
    return isProved ? lack : (this.#reasons.get(pod.uid) ?? 'not proved yet')
  }
}

const markOf = ({ uid, cookie }: Captured): string => `${uid}.${cookie}`

/** All that bears on captures, to be compared. */
function textOf(pods: readonly Workload[]): string {
  return JSON.stringify(
    pods.map(({ uid, ips, joined, unfit, captured, serviceAccount, announcedAccount, terms }) => {
      return [uid, ips, joined, unfit, captured, serviceAccount, announcedAccount, terms]
    }),
  )
}
