public import ControllerDomain
public import FastableCore
public import FoundationEssentials

/// The controller's memory, in terms of the domain. Every driver passes the same contract tests.
///
/// A call that returned is in the database, and survives the death of the process. A call that throws changed
/// nothing. Reads see all writes that returned before. What is missing throws `not_found`, also when it belongs to
/// another workspace. A failing disk or database throws `unavailable` or `internal` with a sentence for the operator.
public protocol Store: WorkspaceStore, ProjectStore, NodeStore, EnrollmentStore, TokenStore, ExecStore, AuditStore,
    OnceStore, EventStore, WebhookStore, SnapshotStore, KillSwitchStore, ProjectArchiveStore, NodeDrainStore,
    ProjectMoveStore, NodeLossStore, ImageUseStore
{
    /// For metrics.
    func counts() async throws -> StoreCounts
    /// Ends all use; later calls throw `unavailable`.
    func close() throws
}

public protocol WorkspaceStore: Sendable {
    /// Makes the system workspace and the default one where they are missing, and gives the default one.
    func bootstrap(now: Date) async throws -> Workspace
    /// Throws `conflict` when the name is taken.
    func createWorkspace(_ workspace: Workspace) async throws
    func workspace(_ id: WorkspaceID) async throws -> Workspace
    /// All, by name.
    func workspaces() async throws -> [Workspace]
    /// Changes what its projects inherit; their nodes are to be told.
    func setLifecycle(_ lifecycle: LifecyclePolicy, of workspace: WorkspaceID) async throws -> Workspace
    /// Changes the size of its new projects' disks; those that there are stay as they are.
    func setDisk(_ bytes: Int?, of workspace: WorkspaceID) async throws -> Workspace
    /// Changes what the workspace may have; what it has stays as it is. Its disk is seen to where projects are stored.
    func setQuota(_ quota: WorkspaceQuota, of workspace: WorkspaceID) async throws -> Workspace
    /// Of the workspace's projects that are on nodes.
    func placedLimits(in workspace: WorkspaceID) async throws -> [ProjectID: PlacedLimits]
    /// The sum of its active projects' own disks, and how many of these projects have none.
    func diskUsage(of workspace: WorkspaceID) async throws -> (bytes: Int, projectsWithoutDisk: Int)
}

public protocol ProjectStore: Sendable {
    /// Throws `conflict` when an active project of the workspace has the name, and `limit` when the workspace is full, or its disks
    /// would be more than its quota.
    ///
    /// - Parameter isFilling: it gets its content now, and is nobody's before `projectIsFilled`.
    func createProject(_ project: Project, isFilling: Bool) async throws
    func projectIsFilled(_ id: ProjectID) async throws
    /// Active projects that did not get all of their content, or not yet.
    func fillingProjects(limit: Int) async throws -> [Project]
    /// An active project. Throws `gone` for one that is being deleted and is asked for by its id.
    func project(_ key: ProjectKey, in workspace: WorkspaceID) async throws -> Project
    /// Active projects by name, after a page's cursor; at most `Limits.pageRows`.
    func projects(in workspace: WorkspaceID, after cursor: String?, limit: Int) async throws -> ProjectPage
    /// Gives an active project its node unless it has one. The answer carries the node that it has now: when two
    /// calls race, both get the winner's. Throws `conflict` when the node takes no projects.
    func placeProject(_ id: ProjectID, on node: NodeID) async throws -> Project
    /// Marks a project for deletion, which frees its name. A marked one stays as it is.
    func markProjectDeleting(_ id: ProjectID, in workspace: WorkspaceID, at now: Date) async throws -> Project
    /// Projects that wait for their removal, longest first; of one node or of all, after the last one of a page.
    func deletingProjects(on node: NodeID?, after last: Project?, limit: Int) async throws -> [Project]
    /// Forgets a project that is being deleted, and its execs. Throws `conflict` for an active one; a missing one is
    /// fine.
    func removeProject(_ id: ProjectID) async throws
    /// Changes what runs whenever an active project's container does; its node is to be told.
    ///
    /// - Parameter change: is given the number that the changed settings will have.
    func setSupervised(
        of project: ProjectID, in workspace: WorkspaceID,
        _ change: @escaping @Sendable (inout [SupervisedProcess], _ revision: Int) throws -> Void
    ) async throws -> Project
    /// What its containers are made from, from the next one on.
    func setImage(_ image: String, of project: ProjectID, in workspace: WorkspaceID) async throws -> Project
    /// Changes an active project's own settings; its node is to be told.
    func setLifecycle(
        _ lifecycle: LifecyclePolicy, of project: ProjectID, in workspace: WorkspaceID
    ) async throws -> Project
    /// Changes what an active project's container may use, unless its settings were changed since `revision`: `conflict` then. Its
    /// node is to be told.
    func setLimits(
        _ limits: ResourceLimits, of project: ProjectID, in workspace: WorkspaceID, replacing revision: Int
    ) async throws -> Project
    /// Active projects of a node that does not have their present settings, by id, after the last one of a page.
    func unsentLifecycles(on node: NodeID, after last: ProjectID?, limit: Int) async throws -> [Project]
    /// The node has the settings of this revision.
    func lifecycleWasSent(_ project: Project) async throws
    /// What is placed on each node, projects in deletion included: places and disks. Nodes without projects are left out.
    func nodeLoads(for workspace: WorkspaceID) async throws -> [NodeID: NodeLoad]
}

extension ProjectStore {
    /// One that begins empty.
    public func createProject(_ project: Project) async throws { try await createProject(project, isFilling: false) }
}

public protocol NodeStore: Sendable {
    /// Throws `conflict` when a node that is not removed has the name.
    func createNode(_ node: NodeRecord) async throws
    /// By id also a removed one; by name only the others.
    func node(_ key: NodeKey) async throws -> NodeRecord
    /// All that are not removed, by name.
    func nodes() async throws -> [NodeRecord]
    /// Throws `gone` for a removed node. One that is ready is not drained any more.
    func setScheduling(_ scheduling: NodeRecord.Scheduling, of node: NodeID) async throws -> NodeRecord
    /// Stores what the node reported. A removed node stays as it is.
    func updateNode(_ node: NodeID, facts: NodeFacts, seenAt: Date) async throws
    /// Marks the node as removed and revokes its certificates; gives the serials that this call revoked.
    func removeNode(_ node: NodeID, at now: Date) async throws -> [String]
}

public protocol EnrollmentStore: Sendable {
    /// Remembers an issued certificate; it becomes the node's current one. Throws `gone` for a removed node.
    func recordCertificate(_ certificate: CertificateRecord) async throws
    /// The same for the successor of a certificate. Throws `unauthenticated` when that one was revoked: who held it is fenced off,
    /// also in the middle of asking.
    func recordCertificate(_ certificate: CertificateRecord, renewing serial: String) async throws
    /// Revokes all certificates of the node and remembers the new one, in one step; gives the serials that this call revoked. Throws
    /// `gone` for a removed node.
    func replaceCertificates(with certificate: CertificateRecord, at now: Date) async throws -> [String]
    /// `nil` when this controller never issued the serial.
    func certificate(serial: String) async throws -> CertificateRecord?
    /// Revokes all certificates of a node; gives the serials that this call revoked.
    func revokeCertificates(of node: NodeID, at now: Date) async throws -> [String]
    /// Forgets certificates that expired before; gives their number.
    func pruneCertificates(expiredBefore: Date) async throws -> Int

    func createJoinToken(_ token: JoinTokenRecord) async throws
    /// For checking the proof before the token is used; `nil` when it is unknown.
    func joinToken(_ id: JoinTokenID) async throws -> JoinTokenRecord?
    /// Uses a token, exactly once: of any number of concurrent calls, one is accepted.
    func consumeJoinToken(_ id: JoinTokenID, by node: NodeID, at now: Date) async throws -> JoinTokenUse
    /// Forgets tokens that expired before; gives their number.
    func pruneJoinTokens(expiredBefore: Date) async throws -> Int
}

public protocol TokenStore: Sendable {
    /// Throws `limit` when the workspace has `Limits.tokensPerWorkspace` tokens that are not revoked.
    func createToken(_ token: TokenRecord, hash: TokenHash) async throws
    func findToken(hash: TokenHash, now: Date) async throws -> TokenLookup
    /// All of the workspace, oldest first, revoked ones included.
    func tokens(in workspace: WorkspaceID) async throws -> [TokenRecord]
    /// A revoked one stays as it is.
    func revokeToken(_ id: TokenID, in workspace: WorkspaceID, at now: Date) async throws -> TokenRecord
    /// Notes that a token was used. Writes only when the record is older than a minute, so it may be called at each
    /// request.
    func touchToken(_ token: TokenRecord, at now: Date) async throws
}

public protocol ExecStore: Sendable {
    /// - Parameter intent: goes into the audit in the same step.
    func recordExec(_ exec: ExecHandle, intent: AuditEvent?) async throws
    func exec(_ id: ExecID, in workspace: WorkspaceID) async throws -> ExecHandle
    /// A project's commands, newest first, from the one before `before` on.
    func execs(of project: ProjectID, before: ExecID?, limit: Int) async throws -> [ExecHandle]
    /// Before a node forgets them. What is not a command of this project there changes nothing.
    func keepResults(_ results: [ExecResult], of project: ProjectID, on node: NodeID) async throws
    /// Forgets execs that started before; gives their number.
    func pruneExecs(startedBefore: Date) async throws -> Int
}

extension ExecStore {
    public func recordExec(_ exec: ExecHandle) async throws { try await recordExec(exec, intent: nil) }
}

public protocol AuditStore: Sendable {
    /// Adds an event to the end of the chain. It is written even when the calling task was cancelled.
    @discardableResult
    func appendAudit(_ event: AuditEvent) async throws -> AuditHead
    /// The same for several, in one step: all of them, or none.
    func appendAudit(_ events: [AuditEvent]) async throws
    /// Newest first, before a sequence number; at most `Limits.pageRows`.
    func auditEntries(_ filter: AuditFilter, before sequence: Int64?, limit: Int) async throws -> [AuditEntry]
    /// Removes the oldest events, from before a moment, at most `Limits.auditRowsPrunedAtOnce`; gives their number. The chain says so
    /// itself, with an event at its end, and stays verifiable from where it begins now.
    func pruneAudit(before: Date, at now: Date) async throws -> Int
    /// Reads the whole chain and checks every link, from what `pruneAudit` left.
    ///
    /// Found are changed, removed, added and exchanged rows, and a cut end. Somebody who may write the database could
    /// compute a whole new chain: that shows only against a head that was noted elsewhere and is given as
    /// `expecting`. Throws `gone` when that one's event was pruned.
    func verifyAudit(expecting noted: AuditHead?) async throws -> AuditVerification
    func auditHead() async throws -> AuditHead
}

public protocol OnceStore: Sendable {
    /// Remembers a change before it begins, together with the audit's intent, in one step; or gives what is remembered of its key,
    /// and writes nothing. Of any number of concurrent calls, one is told `fresh`. Throws `limit` when the workspace has too many.
    func beginOnce(_ record: OnceRecord, intent: AuditEvent, at now: Date) async throws -> OnceBeginning
    /// Stores a record whose answer says that the change was cancelled, unless the key's change has ended already; gives what was known
    /// of the key. No later attempt under it begins.
    func cancelOnce(_ record: OnceRecord, at now: Date) async throws -> OnceBeginning
    func finishOnce(_ key: OnceKey, _ answer: OnceRecord.Answer) async throws
    /// The change is known not to have happened: a retry may begin anew, unless it was cancelled.
    func forgetOnce(_ key: OnceKey) async throws
    /// Forgets keys whose time is over; gives their number.
    func pruneOnce(expiredBefore: Date) async throws -> Int
}

/// What happened. Events of projects are stored with the change itself: in `createProject` and `markProjectDeleting`.
public protocol EventStore: Sendable {
    /// Gives the event's place.
    @discardableResult
    func appendEvent(_ event: PlatformEvent) async throws -> Int64
    /// Stores what a node tells of its containers, each change once however often it is told, and only of projects that it has or had
    /// last. Throws `invalid` for what no node sends.
    func recordTransitions(_ batch: TransitionBatch, of node: NodeID, at now: Date) async throws
    /// Oldest first, behind a place; at most `limit` and `Limits.pageRows` are looked at.
    func events(_ filter: EventFilter, after sequence: Int64, limit: Int) async throws -> EventPage
    func eventRange() async throws -> EventRange
    /// Forgets the oldest events, as far as they were stored before a moment or are more than `most`; gives their number, at most
    /// `Limits.eventsPrunedAtOnce`. The newest one stays.
    func pruneEvents(before: Date, keeping most: Int) async throws -> Int
    /// A signal after each event that was stored; several may become one.
    func eventSignals() -> AsyncStream<Void>
}

public protocol WebhookStore: Sendable {
    /// Throws `limit` when the workspace has `Limits.webhooksPerWorkspace`.
    func createWebhook(_ webhook: Webhook) async throws
    /// All of the workspace, oldest first.
    func webhooks(in workspace: WorkspaceID) async throws -> [Webhook]
    func webhook(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook
    /// Those that are not switched off and for whose workspaces there are events behind what they were told.
    func webhooksWithNews() async throws -> [Webhook]
    func webhookCounts() async throws -> [Webhook.Progress.Health: Int]
    /// Stores how far deliveries are; `false` when the webhook was deleted meanwhile.
    func updateWebhook(_ id: WebhookID, _ progress: Webhook.Progress) async throws -> Bool
    /// Switches it on again, see `Webhook.Progress.resumed`.
    func resumeWebhook(_ id: WebhookID, in workspace: WorkspaceID) async throws -> Webhook
    func deleteWebhook(_ id: WebhookID, in workspace: WorkspaceID) async throws
}

/// Some events, and how far the search for them came.
public struct EventPage: Sendable, Equatable {
    public var events: [StoredEvent]
    /// All up to here were looked at: the next page begins behind it.
    public var last: Int64
    /// Nothing lies behind it yet.
    public var isLast: Bool
    /// What was kept at that moment: it tells whether some of what was asked for is gone.
    public var range: EventRange

    public init(events: [StoredEvent], last: Int64, isLast: Bool, range: EventRange) {
        self.events = events
        self.last = last
        self.isLast = isLast
        self.range = range
    }
}

public protocol SnapshotStore: Sendable {
    /// Of a project that is deleted, or deleted meanwhile, it expires by itself.
    func recordSnapshot(_ snapshot: Snapshot) async throws
    func snapshot(_ id: SnapshotID, in workspace: WorkspaceID) async throws -> Snapshot
    /// Of one project, whatever became of it, or of all; newest first, from the one before `before` on.
    func snapshots(
        of project: ProjectID?, in workspace: WorkspaceID, before: SnapshotID?, limit: Int
    ) async throws -> [Snapshot]
    func setSnapshotState(_ state: Snapshot.State, of id: SnapshotID) async throws
    /// A missing one is fine. Throws `conflict` for one that has the content of a project that is archived, or is being moved.
    func removeSnapshot(_ id: SnapshotID) async throws
    /// Those whose time is over, longest first.
    func expiredSnapshots(at now: Date, limit: Int) async throws -> [Snapshot]
    func snapshotExists(_ id: SnapshotID) async throws -> Bool
}

/// Projects whose content lies in a snapshot. Each step is taken once: a project that is in another state by now throws `conflict`, and
/// one that is being deleted `gone`.
public protocol ProjectArchiveStore: Sendable {
    /// Active projects with these ids, as far as there are any.
    func activeProjects(_ ids: [ProjectID]) async throws -> [Project]
    /// Active projects that are archived, or on their way there or back, by id, after the last one of a page.
    func archivedProjects(after last: ProjectID?, limit: Int) async throws -> [Project]
    /// Its content is in a snapshot, which must be verified: from here on its node may give the files up.
    func beginRemoval(
        of project: ProjectID, savedIn snapshot: SnapshotID, restingSince: Date, at now: Date
    ) async throws -> Project
    /// Its node has given the files up.
    func finishRemoval(of project: ProjectID, at now: Date) async throws -> Project
    /// Its node has them, and keeps them.
    func cancelRemoval(of project: ProjectID) async throws -> Project
    /// It is archived, or the node that was to get it is no more: its next stay begins, on this node. Throws `conflict` as well when the
    /// node takes no projects, may have some of an earlier stay, or while the project may still run where it was.
    func beginRestore(of project: ProjectID, on node: NodeID, at now: Date) async throws -> Project
    /// Its content is on the node; this ends being archived. `snapshot` is where it came from.
    func finishRestore(of project: Project, from snapshot: SnapshotID, at now: Date) async throws -> Project
    /// Nothing of it is on the node of this stay, or what is there remains to be removed.
    func abandonRestore(of project: Project, isRemoved: Bool, at now: Date) async throws -> Project
    /// Remembers what was told of a project, with the event that tells it.
    func announce(_ notice: ProjectDescent.Notice, of project: Project, due: Date) async throws
    /// Marks an archived project for deletion, if it is still the same archive.
    func deleteArchived(_ project: Project, at now: Date) async throws -> Project
}

public protocol KillSwitchStore: Sendable {
    func addKillSwitch(_ record: KillSwitchRecord) async throws
    /// Stores whom it waits for, and that it was lifted. One that was lifted stays as it is.
    func updateKillSwitch(_ record: KillSwitchRecord) async throws
    /// All that are on, in the order in which they were switched on.
    func activeKillSwitches() async throws -> [KillSwitchRecord]
}

/// One page of a list of projects.
public struct ProjectPage: Sendable, Equatable {
    public var projects: [Project]
    /// Where the next page begins; `nil` at the end.
    public var next: String?

    public init(projects: [Project], next: String?) {
        self.projects = projects
        self.next = next
    }
}

public struct StoreCounts: Sendable, Equatable {
    public var workspaces: Int
    public var activeProjects: Int
    public var deletingProjects: Int
    /// Without removed ones.
    public var nodes: Int
    /// Without revoked ones.
    public var tokens: Int
    public var execs: Int
    public var auditEvents: Int

    public init(
        workspaces: Int, activeProjects: Int, deletingProjects: Int, nodes: Int, tokens: Int, execs: Int,
        auditEvents: Int
    ) {
        self.workspaces = workspaces
        self.activeProjects = activeProjects
        self.deletingProjects = deletingProjects
        self.nodes = nodes
        self.tokens = tokens
        self.execs = execs
        self.auditEvents = auditEvents
    }
}
