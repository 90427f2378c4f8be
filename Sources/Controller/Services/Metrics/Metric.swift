/// What is measured: one family of the Prometheus text format. Declared once, as a static member.
public struct Metric: Sendable, Hashable {
    public enum Kind: Sendable, Hashable {
        case counter, gauge
        /// Upper bounds of the buckets, rising; the last bucket, `+Inf`, is added.
        case histogram([Double])
    }

    public let name: String
    public let help: String
    public let kind: Kind
    /// Names of the labels; values are given in the same order.
    public let labels: [String]

    public init(_ name: String, _ kind: Kind, labels: [String] = [], help: String) {
        self.name = name
        self.help = help
        self.kind = kind
        self.labels = labels
    }

    public static func == (left: Self, right: Self) -> Bool { left.name == right.name }
    public func hash(into hasher: inout Hasher) { hasher.combine(name) }
}

extension Metric {
    public static let operations = Metric(
        "fastable_operations_total", .counter, labels: ["operation", "code"],
        help: "Operations that ended, by name and by error code (ok when there was none).")
    public static let operationSeconds = Metric(
        "fastable_operation_duration_seconds",
        .histogram([0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900]),
        labels: ["operation"], help: "Time from the request to its result.")
    public static let operationsInFlight = Metric(
        "fastable_operations_in_flight", .gauge, help: "Operations that run now.")
    public static let execsRunning = Metric(
        "fastable_execs_running", .gauge, help: "Commands that this controller follows now.")
    public static let execOutputBytes = Metric(
        "fastable_exec_output_bytes_total", .counter, labels: ["stream"],
        help: "Bytes of output that commands gave to this controller.")
    public static let transferredBytes = Metric(
        "fastable_transferred_bytes_total", .counter, labels: ["direction"],
        help: "Raw bytes of files and trees, in to nodes and out of them.")
    public static let snapshots = Metric(
        "fastable_snapshots_total", .counter, labels: ["reason", "code"],
        help: "Snapshots of workspaces that were tried, by reason and by error code (ok when there was none).")
    public static let damagedSnapshots = Metric(
        "fastable_damaged_snapshots_total", .counter,
        help: "Archives of snapshots that were found damaged or gone when they were to be restored.")
    public static let nodesConnected = Metric(
        "fastable_nodes_connected", .gauge, help: "Nodes whose link is up.")
    public static let containersStarting = Metric(
        "fastable_containers_starting", .gauge, help: "Containers that nodes start now.")
    public static let startsWaiting = Metric(
        "fastable_starts_waiting", .gauge, help: "Containers that wait on their nodes for their turn to be started.")
    public static let nodes = Metric(
        "fastable_nodes", .gauge, labels: ["state"],
        help: "Nodes by state: ready, cordoned, draining, offline, lost.")
    public static let nodesByDiskPressure = Metric(
        "fastable_nodes_disk_pressure", .gauge, labels: ["level"],
        help: "Linked nodes by how short of space their disk is: none, low, reclaiming, refusing.")
    public static let projectMoves = Metric(
        "fastable_project_moves_total", .counter, labels: ["code"],
        help: "Projects that were to be moved off a node, by error code (ok when they were).")
    public static let drainedProjectsLeft = Metric(
        "fastable_drain_projects_left", .gauge, help: "Projects that are still on nodes that are drained.")
    public static let linksRefused = Metric(
        "fastable_links_refused_total", .counter, help: "Connections to the node listener that were refused.")
    public static let enrollments = Metric(
        "fastable_enrollments_total", .counter, labels: ["result"],
        help: "Nodes that asked to join, by result: ok or the reason of the refusal.")
    public static let authenticationsRefused = Metric(
        "fastable_authentications_refused_total", .counter, help: "Requests with a missing, unknown or expired token.")
    public static let webhookDeliveries = Metric(
        "fastable_webhook_deliveries_total", .counter, labels: ["result"],
        help: "Messages that were sent to webhooks, by result: ok or failed (they are sent again).")
    public static let webhooks = Metric(
        "fastable_webhooks", .gauge, labels: ["state"],
        help: "Webhooks by state: ok, failing, or disabled after failing for too long.")
    public static let auditFailures = Metric(
        "fastable_audit_failures_total", .counter, help: "Audit records that could not be stored.")
}
