/// Every bound of the product in one place. Hitting one gives `limit` or `too_large` and names it.
///
/// Units stand in the names. `LimitsTests` asserts the relations between them.
public enum Limits {
    // MARK: the link
    /// Largest payload of one frame. One WebSocket message carries one frame.
    public static let framePayloadBytes = 256 * 1024
    /// Raw data is sent in pieces of at most this, so that a small message never waits behind a large frame.
    public static let frameChunkBytes = 64 * 1024
    /// Bytes that may be in flight on one stream in one direction before the receiver gives credit.
    public static let streamWindowBytes = 1024 * 1024
    /// Streams that may be open on one link, counted per opener.
    public static let streamsPerLink = 4096
    /// Largest control message (JSON).
    public static let controlMessageBytes = 256 * 1024
    /// A link that was silent for this long is pinged.
    public static let pingIntervalSeconds = 5
    /// A link that was silent for this long is dead.
    public static let linkSilenceSeconds = 15
    /// Bytes of one link that senders may hand over before they wait for the network.
    public static let linkSendBufferBytes = 1024 * 1024
    /// Events of one stream that wait for its reader, small data joined. A stream with more is reset; what has arrived is readable.
    public static let streamQueuedEvents = 65_536
    /// Answers (pong, credit, refusal) that wait for the network. A peer that asks and never reads gets here.
    public static let linkQueuedControlFrames = 16_384
    /// Closed streams whose late frames are ignored; a frame for an older one is a protocol violation.
    public static let linkRecentStreams = 8192
    /// Connecting, TLS and upgrade together must be done in this time.
    public static let linkConnectSeconds = 10
    /// How long a closing link may take to say goodbye.
    public static let linkCloseSeconds = 2
    /// Connections that one node listener holds, handshakes included.
    public static let linksPerListener = 4096
    /// First and longest pause before a node dials again; full jitter in between.
    public static let reconnectFirstMilliseconds = 100
    public static let reconnectLongestMilliseconds = 10_000
    /// A node reports its facts and containers this often, and at once when they change.
    public static let reportIntervalSeconds = 3
    public static let hostCheckSeconds = 10
    /// Handlers of a link that ended are cancelled; after this time nobody waits for them any more.
    public static let linkHandlersEndSeconds = 2
    /// Containers in one part of a report, and how much of each one's reason.
    public static let containersPerReport = 100
    public static let reportReasonCharacters = 400
    /// How often a restarted daemon tries to reach a container that runs, with growing pauses.
    public static let containerAdoptionAttempts = 5
    /// Largest answer of a node to one call; above `controlMessageBytes` it travels as bytes.
    public static let callReplyBytes = 32 * 1024 * 1024
    /// Longest wait for the answer to a short control call.
    public static let controlCallSeconds = 15
    /// Specs of containers whose text each end keeps, and the longest such text.
    public static let specTextsKept = 512
    public static let specTextKeptBytes = 4096

    // MARK: exec
    public static let execTimeoutDefaultSeconds = 120
    public static let execTimeoutLongestSeconds = 900
    /// For commands that nobody waits for.
    public static let detachedExecTimeoutDefaultSeconds = 24 * 3600
    public static let detachedExecTimeoutLongestSeconds = 7 * 24 * 3600
    /// A command that is to end gets this long to do so by itself.
    public static let execGraceSeconds = 5
    public static let execGraceLongestSeconds = 60
    /// The same for a command whose caller went away or cancelled it.
    public static let execCancelGraceSeconds = 2
    /// A second Ctrl-C so soon after the first kills the command that the CLI follows.
    public static let secondInterruptSeconds = 5
    /// The CLI waits for so long to be sure that the controller knows why it leaves.
    public static let partingSeconds = 4
    /// Commands in one list of a project's commands.
    public static let execsPerList = 100
    /// Text for a command's standard input in one call.
    public static let execInputTextBytes = 1024 * 1024
    /// Output in one answer of `shell.output`.
    public static let outputPageBytes = 128 * 1024
    public static let terminalRowsOrColumns = 1...1000
    /// Bytes of one output stream that `fastable-init` holds until the node has stored them.
    public static let initRingBytes = 256 * 1024
    /// Further than any stream of a command gets. A container that tells of more is not believed.
    public static let execStreamBytes: UInt64 = 1 << 62
    /// How often a command is started whose container ends just before it begins, each time in the next one.
    public static let execStartAttempts = 4
    public static let execStartPauseMilliseconds = 25
    /// Bytes of one output stream that the node keeps per exec; older bytes are dropped once nobody needs them.
    public static let execOutputKeptBytes = 32 * 1024 * 1024
    /// So much of it is kept behind the place that a reader has come to, for what is lost on its way when it vanishes: windows of
    /// the link and the controller, and the buffers of the last connection, which are up to 4 MiB and 6 MiB on Linux.
    public static let execReaderSlackBytes = 16 * 1024 * 1024
    /// A reader that vanished may come back for this long before the bytes that it needs are dropped.
    public static let execReaderGraceSeconds = 60
    /// Readers of one exec that vanished and are waited for.
    public static let execReadersAwaited = 256
    /// Bytes of stdout and of stderr in one tool answer; the middle of longer output is cut.
    public static let toolOutputBytes = 128 * 1024
    public static let execsPerContainer = 256
    /// Output of one stream that stays in memory for readers that are close behind.
    public static let execRecentBytes = 256 * 1024
    /// Output that a reader who is further behind gets at once.
    public static let execReadBytes = 128 * 1024
    /// Pause before output that a full disk did not take is written again; its command is slowed down meanwhile.
    public static let execWriteRetryMilliseconds = 250
    /// How long the end of a killed command is waited for.
    public static let execKillSeconds = 10
    /// How long the receipt of a kill waits for the command's result, which comes behind its output.
    public static let execReceiptResultMilliseconds = 1000
    /// How often it is looked whether a command that was asked to end has done so.
    public static let execEndCheckMilliseconds = 50
    /// How long a container's init may take to tell what it holds.
    public static let initGreetingSeconds = 10
    /// First and longest pause before a container's init is connected to again.
    public static let initReconnectFirstMilliseconds = 10
    public static let initReconnectLongestMilliseconds = 1000
    public static let execArgumentBytes = 128 * 1024
    public static let execEnvironmentEntries = 256
    /// Secret variables of one command, the bytes of each value, and of all together.
    public static let execSecrets = 32
    public static let secretBytesLeast = 8
    public static let secretBytes = 4096
    public static let secretsBytes = 16 * 1024
    /// Of all commands of a container that run at the same time.
    public static let containerSecretsBytes = 4 * secretsBytes
    /// Output that could begin a secret, but is shorter than this, is held back for this long only: so few bytes of a prompt tell little.
    public static let secretTailBytes = 4
    public static let secretTailMilliseconds = 100
    /// The name of a user of a container, its supplementary groups, and each of the files in which a container keeps both.
    public static let userNameBytes = 64
    public static let execGroups = 256
    public static let accountFileBytes = 1024 * 1024
    /// Arguments of one command.
    public static let execArguments = 4096

    // MARK: files
    /// Longest text that one `fs.read` gives.
    public static let fileReadBytes = 1024 * 1024
    /// Largest content of one `fs.write` in JSON; larger files go through the raw file route.
    public static let fileWriteBytes = 8 * 1024 * 1024
    /// Largest file that `fs.edit` opens.
    public static let fileEditBytes = 16 * 1024 * 1024
    public static let fileEditsPerCall = 256
    /// Bytes of the snippet that an edit answers, and of each line that it suggests.
    public static let editSnippetBytes = 8 * 1024
    /// So much of a file is looked through for lines like the one that was not found.
    public static let editHintBytes = 4 * 1024 * 1024
    public static let rawFileBytes = 10 * 1024 * 1024 * 1024
    public static let pathBytes = 4096
    public static let listEntries = 10_000
    public static let globResults = 10_000
    /// Files, directories and links of one `fs.copy`, their bytes, and how long it may take.
    public static let copyEntries = 100_000
    public static let copyBytes = 10 * 1024 * 1024 * 1024
    public static let copySeconds = 300
    /// Up to so many files and directories of a copy are put onto the disk one by one; for more the whole file system is.
    public static let copyEntriesSavedSingly = 64
    public static let grepMatches = 2_000
    public static let grepLineBytes = 2_000
    public static let searchSeconds = 30
    /// What a search has found is told at the latest after this time, to those who want to see it meanwhile.
    public static let searchTellMilliseconds = 50
    /// Results that are told at once, and their bytes.
    public static let searchBatchItems = 256
    public static let searchBatchBytes = 16 * 1024
    public static let searchPatternBytes = 16 * 1024
    /// Ignore files of one search: rules in force at a time, and bytes of one file.
    public static let ignoreRules = 10_000
    public static let ignoreFileBytes = 256 * 1024
    /// Larger files are not searched.
    public static let searchFileBytes = 64 * 1024 * 1024
    /// Memory of the program that searches.
    public static let searchMemoryBytes = 512 * 1024 * 1024
    /// What the searches of a project may take together of its node, beside its container.
    public static let searchCPUs = 1.0
    public static let searchGroupMemoryBytes = 1024 * 1024 * 1024
    public static let searchPIDs = 256
    /// `fs.read` looks no further into a file than this; larger files have no digest and no line count.
    public static let fileScanBytes = 512 * 1024 * 1024
    public static let listDepth = 64
    /// Directories that one watch sees; more give a rescan marker. The host's own bound is fs.inotify.max_user_watches.
    public static let watchedDirectories = 16_384
    public static let watchesPerProject = 16
    public static let watchesPerNode = 64
    /// Changes are gathered until it is quiet for the first time, but no longer than for the second.
    public static let watchQuietMilliseconds = 20
    public static let watchLongestMilliseconds = 200
    /// Changes that are told at once; more give a rescan marker.
    public static let watchBatchEvents = 4096
    /// How often a quiet watch looks whether its directory still exists.
    public static let watchCheckMilliseconds = 2000
    /// After a rescan marker nothing is read for so long: whoever makes more changes than can be told gets few of them.
    public static let watchRescanPauseMilliseconds = 1000
    /// Extended headers of one entry of a tar archive.
    public static let tarHeaderBytes = 1024 * 1024
    public static let treeFiles = 1_000_000
    /// Entries of one directory, with those around it, that a tree may have to be packed.
    public static let directoryEntries = 200_000
    /// Bytes of one tar archive that is pushed, expanded when it comes compressed.
    public static let treeBytes = 20 * 1024 * 1024 * 1024
    /// Largest window of a compressed archive, as a power of 2: what RFC 9659 allows HTTP. It is what expanding costs in memory.
    public static let zstdWindowLog = 23
    /// Fast rather than small: a tree is read about as fast as it is compressed.
    public static let zstdLevel = 1
    /// Trees that one node compresses or expands at a time.
    public static let zstdTreesPerNode = 32
    public static let zstdTreesPerProject = 8
    /// Bytes that are compressed or expanded at once, before anything else gets its turn.
    public static let zstdStepBytes = 4 * 1024 * 1024

    // MARK: snapshots and checkpoints
    /// What one snapshot holds, expanded, and how many files, directories and links.
    public static let snapshotContentBytes: Int64 = 200 * 1024 * 1024 * 1024
    public static let snapshotEntries = 5_000_000
    /// Files of a tree with several names of which a further name is looked for; one beyond is stored once more.
    public static let snapshotLinksHeld = 200_000
    /// Extended attributes of one file; more are left out.
    public static let snapshotAttributeBytes = 256 * 1024
    /// Snapshots that the controller takes, checks and restores at a time; further ones wait.
    public static let snapshotsAtOnce = 4
    /// A node that sends or takes nothing of a snapshot for so long is given up.
    public static let snapshotStallSeconds = 300
    /// The controller takes no snapshot that leaves its disk less than this.
    public static let snapshotDiskReserveBytes = 2 * 1024 * 1024 * 1024
    /// So much is written between two looks at the disk.
    public static let snapshotSpaceCheckBytes = 16 * 1024 * 1024
    /// Pieces in which the controller writes and reads archives.
    public static let snapshotPieceBytes = 1024 * 1024
    /// Snapshots of a project that are kept, newest first: those that were asked for, and those that the platform took by itself.
    public static let snapshotsKeptManual = 50
    public static let snapshotsKeptAutomatic = 10
    /// How long the snapshots of a deleted project are kept.
    public static let deletedProjectSnapshotDays = 30
    /// How often the progress of long work is told.
    public static let workProgressMilliseconds = 500
    /// Checkpoints of a project; when there are as many, the oldest goes.
    public static let checkpointsPerProject = 20
    public static let checkpointNoteBytes = 200

    // MARK: doors
    /// Largest JSON body of a REST or MCP request.
    public static let requestBodyBytes = 16 * 1024 * 1024
    /// Up to this a request is read and carried out on its connection's event loop.
    public static let loopRequestBytes = 64 * 1024
    public static let requestsPerTokenInFlight = 256
    /// Followers of commands that one token has at a time: WebSockets, server-sent events and bytes.
    public static let attachmentsPerToken = 256
    /// Connections to the API at a time; further ones wait to be accepted.
    public static let apiConnections = 4096
    /// A connection that is silent for this long, outside of an answer, is closed.
    public static let apiIdleSeconds = 75
    /// A client whose machine has answered nothing for so long, or not so many questions in a row, has vanished …
    public static let apiVanishedSeconds = 60
    public static let apiVanishedProbes = 8
    /// … which is looked for this often.
    public static let apiVanishedCheckSeconds = 15
    /// A WebSocket is pinged this often …
    public static let socketPingSeconds = 20
    /// … and closed when nothing came for so long although it could have been heard.
    public static let socketSilenceSeconds = 60
    /// A WebSocket's client has this long to answer a goodbye …
    public static let socketCloseSeconds = 10
    /// … and this long when it broke a rule or the controller stops.
    public static let socketAbortSeconds = 2
    public static let socketMessageFragments = 256
    /// Largest header of a request; all together may be twice as large.
    public static let requestHeaderBytes = 32 * 1024
    public static let requestHeaders = 128
    public static let jsonDepth = 64

    // MARK: containers and nodes
    public static let containerCPUs = 1.0
    /// User and group ids of one container, from its root's on.
    public static let containerUsers: UInt32 = 65_536
    public static let containerMemoryBytes = 1024 * 1024 * 1024
    public static let containerPIDs = 512
    public static let containerCPUsHighest = 2.0
    public static let containerMemoryBytesHighest = 4 * 1024 * 1024 * 1024
    public static let containerPIDsHighest = 4096
    /// Network slots, and with them projects, of one node instance.
    public static let projectsPerNode = 1000
    /// From the wish for a container to its init's first answer, and from the end of one to the last trace of it.
    public static let containerStartSeconds = 60
    public static let containerStopSeconds = 60
    public static let projectDeleteSeconds = 900
    /// Open files of one process in a container.
    public static let containerOpenFiles = 65_536
    /// Containers that are stopped at a time when a node goes down.
    public static let containersStoppedAtOnce = 8
    /// Deleted projects that a node remembers, so that a late call brings none back.
    public static let deletedProjectsRemembered = 10_000
    /// Commands that were ended or cancelled lately, and that may not start any more.
    public static let endedExecsRemembered = 10_000
    public static let imageAddSeconds = 3600
    /// Characters that an error carries of what a tool of the host said.
    public static let toolMessageCharacters = 500
    /// Kill switches that are on at a time: the whole set travels in one message. Those of a workspace leave room for the operators'.
    public static let killSwitches = 200
    public static let killSwitchesPerWorkspace = 16
    public static let killReasonBytes = 400
    /// A node proves for so long that nothing is left, then answers with what it has; the controller waits for so long.
    public static let killProofMilliseconds = 1500
    public static let killAnswerMilliseconds = 2000
    /// How often a node looks whether somebody has set its local kill switch.
    public static let killSwitchLookMilliseconds = 200
    /// Idle time of a sweep that names none, and the bounds of one that does.
    public static let idleSweepMinutes = 30
    public static let idleSweepMinutesHighest = 7 * 24 * 60
    /// First and longest pause before the removal of a container that failed is tried again.
    public static let removalRetryFirstSeconds = 10
    public static let removalRetryLongestSeconds = 600
    public static let hostCommandOutputBytes = 1024 * 1024
    public static let hostCommandSeconds = 30
    /// Workspaces that a node keeps open between calls; each costs a descriptor.
    public static let openWorkspaces = 256
    /// Threads of one daemon that wait in system calls.
    public static let blockingThreads = 512
    /// The same for work on projects' files, and how much of it one project has under way.
    public static let blockingFileThreads = 256
    public static let fileJobsPerProject = 16
    /// Small files of one project that are read at once, without a change of thread.
    public static let smallReadsPerProject = 8
    /// Programs that search files of one project at a time; further searches wait.
    public static let searchesPerProject = 8
    public static let projectsPerWorkspace = 10_000
    public static let nameBytes = 63

    // MARK: lifecycle
    /// Followers of events are told at most this often that a container came to the same limit.
    public static let limitEventSeconds = 60
    /// A file system with less space, or on which fewer files can be made, is full for those who write to it.
    public static let diskFullBytes = 2 * 1024 * 1024
    public static let diskFullInodes = 4
    /// How long the kernel may take to name the process that it has ended.
    public static let kernelLogMicroseconds: UInt32 = 2000
    /// Without work for so long a container is suspended, then stopped, and so on, unless workspace or project say otherwise.
    public static let idleSeconds = 30 * 60
    public static let stopAfterSeconds = 24 * 3600
    public static let archiveAfterSeconds = 7 * 24 * 3600
    public static let deleteAfterSeconds = 30 * 24 * 3600
    public static let lifecycleSecondsHighest = 366 * 24 * 3600
    /// How long a container may be kept awake by one wish, how many of them it may have at a time, and what each may say.
    public static let keepAwakeSecondsHighest = 24 * 3600
    public static let leasesPerProject = 16
    public static let leaseReasonBytes = 200
    /// More of a core than this is work.
    public static let idleCPUShare = 0.05
    /// CPU time is counted over at least this long, so that a short moment does not look like much.
    public static let idleCPUSampleMilliseconds = 1000
    /// How often a node looks which containers are to be suspended or stopped, and how many steps it takes at a time.
    public static let lifecycleSweepSeconds = 5
    public static let lifecycleStepsAtOnce = 8
    /// From the wish to suspend a container until all its processes stand still, and from the wish to wake it until its init answers.
    public static let containerSuspendSeconds = 5
    public static let containerResumeSeconds = 20
    /// Memory of a suspended container is taken back in such steps.
    public static let reclaimStepBytes = 32 * 1024 * 1024
    /// So long before they happen suspending, stopping, and archiving and deleting are announced; half the time that leads to them, when that is less.
    public static let suspendNoticeSeconds = 60
    public static let stopNoticeSeconds = 3600
    public static let lifecycleNoticeSeconds = 24 * 3600
    /// A node that is killed forgets at most so much of when files were used.
    public static let fileUseNoteSeconds = 3600

    // MARK: identity
    public static let nodeCertificateSeconds = 7 * 24 * 3600
    public static let joinTokenSeconds = 3600
    /// Certificates that one node may get over its link in an hour. It needs one in some days.
    public static let certificateRenewalsPerHour = 4
    public static let authoritySeconds = 10 * 365 * 24 * 3600
    /// How far a certificate is dated back, for hosts whose clocks are a little behind.
    public static let certificateBackdateSeconds = 60
    /// Longest PEM text of a key, a certificate or a signing request.
    public static let certificateTextBytes = 16 * 1024
    public static let joinTokenBytes = 2048

    // MARK: daemons
    public static let configurationFileBytes = 1024 * 1024
    /// Longest message and longest value of a log record; the rest is cut and its length told.
    public static let logValueBytes = 4096
    /// How often memory that is not needed is given back to the machine.
    public static let memoryReturnSeconds = 10
    /// A daemon that was told to stop cancels its work after this time …
    public static let gracefulShutdownSeconds = 30
    /// … and leaves after this much more, whatever still runs.
    public static let cancellationSeconds = 5
    /// What a daemon asks itself before it gives systemd a sign of life is answered within this time, or not at all.
    public static let watchdogAnswerSeconds = 20

    // MARK: placement
    /// A node with less free disk gets no new project.
    public static let placementDiskFreeBytes = 1024 * 1024 * 1024
    /// A node that was silent for longer gets no new project, also when its link is still up.
    public static let placementReportAgeSeconds = 60

    // MARK: store
    /// Rows in one page of a list.
    public static let pageRows = 500
    /// Writes that wait for the database at the same time; more are refused.
    public static let storeWritesWaiting = 10_000
    /// Writes that share one transaction.
    public static let storeWritesPerTransaction = 256
    /// After so long also those writes are on the disk itself that did not wait for it.
    public static let storeSaveMilliseconds = 1000
    /// Largest detail of an audit event, as JSON. It holds any command that can be run.
    public static let auditDetailBytes = 512 * 1024
    /// How long an audit event is kept unless the operator says otherwise, and what can be said.
    public static let auditRetentionDays = 400
    public static let auditRetentionDaysHighest = 36_500
    /// Audit events that one transaction removes.
    public static let auditRowsPrunedAtOnce = 5000
    public static let tokensPerWorkspace = 1000
    public static let gitURLBytes = 2048
    public static let gitBranchBytes = 250

    // MARK: events and webhooks
    /// Changes of containers that a node keeps for a controller that is away, and how many it tells at once.
    public static let transitionsKept = 10_000
    public static let transitionsPerBatch = 50
    /// Runs of a node's daemon whose changes the controller knows apart: one that was replaced may still be heard.
    public static let journalsPerNode = 4
    /// How long an event is kept, and how many at most.
    public static let eventDays = 30
    public static let eventsKept = 1_000_000
    /// Events that one transaction removes.
    public static let eventsPrunedAtOnce = 5000
    /// A reader whose events are rare is told after this many of others that it may go on behind them.
    public static let eventsBetweenPlaces: Int64 = 1000
    /// Streams of events that a token follows at a time.
    public static let eventStreamsPerToken = 64
    public static let eventKindsAtOnce = 32
    /// A stream of events ends after this time, so that a token which was revoked follows no longer; clients come back by themselves.
    public static let eventStreamSeconds = 3600
    public static let webhooksPerWorkspace = 32
    public static let webhookURLBytes = 2048
    public static let webhookDescriptionBytes = 256
    /// An endpoint has this long to answer.
    public static let webhookAnswerSeconds = 10
    /// Deliveries that are under way at a time, each to another endpoint: of one workspace, and of all.
    public static let webhooksAtOncePerWorkspace = 8
    public static let webhooksAtOnce = 64
    /// Events that are looked at for one webhook before the others have their turn.
    public static let webhookEventsPerTurn = 50
    /// Threads that wait for name servers.
    public static let webhookResolvers = 8
    /// First and longest pause before an event is sent again …
    public static let webhookRetryFirstSeconds = 5
    public static let webhookRetryLongestSeconds = 3600
    /// … and after this long without one success the webhook is switched off.
    public static let webhookGivesUpHours = 72
    /// Longest sleep between two looks at what is due: the wall clock may have been set.
    public static let webhookLookSeconds = 60

    // MARK: operations
    /// Values (members, elements, scalars) of one JSON request.
    public static let jsonValues = 100_000
    /// Content of `fs.write` up to this size goes to the node in one message, also when every byte must be escaped; larger in a stream.
    public static let inlineWriteBytes = 32 * 1024
    /// Characters of a command that its audit record keeps.
    public static let auditCommandCharacters = 512
    /// Characters of a path that its audit record keeps.
    public static let auditPathCharacters = 1024
    /// Outcomes that wait to be written; a request that ends while there are more waits for them.
    public static let auditOutcomesWaiting = 5000
    /// How long outcomes gather before they are stored.
    public static let auditGatheringMilliseconds = 20
    /// Series of one metric.
    public static let metricSeries = 1000
    /// Projects, and tokens, that the controller keeps in memory to spare the database.
    public static let cachedRecords = 10_000
    /// How long a token is taken for good without asking the database again.
    public static let principalCacheSeconds = 5
    /// Tokens that were revoked lately, with which nothing is opened any more.
    public static let revokedTokensRemembered = 10_000
    /// A node has this long for a short answer, and beyond its own deadline of a longer work.
    public static let nodeAnswerSeconds = 30
    /// A node has this long to tell the end of a command after the command's own deadline.
    public static let execAnswerSlackSeconds = 10
    /// Cloning a git repository into a new project.
    public static let gitCloneSeconds = 600
    /// Characters of git's message that an error carries.
    public static let gitMessageCharacters = 2000
    /// Deleted projects whose rest is removed from one node at a time.
    public static let projectsSweptAtOnce = 16
    /// How long a change is remembered by its idempotency key, how many keys a workspace may have in that time, and how long one is.
    public static let onceSeconds = 24 * 3600
    public static let onceKeysPerWorkspace = 10_000
    public static let onceKeyBytes = 255
    /// Answers up to this size are kept for a retry. What a command printed is read again from its node.
    public static let onceAnswerBytes = 32 * 1024
    /// Pause between two rounds of cleaning up.
    public static let housekeepingSeconds = 300
    /// How long a command's result can be asked for by its id.
    public static let execRecordDays = 7
    /// Longest life of a token that expires.
    public static let tokenSecondsHighest = 10 * 365 * 24 * 3600
}
