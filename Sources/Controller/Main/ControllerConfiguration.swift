import FastableCore
import FastableDaemon

/// What an operator can tell the controller.
struct ControllerConfiguration: DaemonConfiguration {
    let instance: String
    let stateDirectory: String
    let apiListen: HostPort
    /// The address that nodes use to enroll, when they do not reach `apiListen` itself.
    let apiPublicURL: String?
    let tlsCertificate: String?
    let tlsKey: String?
    let allowPlainHTTP: Bool
    let allowedOrigins: [String]
    let nodeListen: HostPort
    /// What nodes dial, when it is another address than the one we listen on.
    let nodeAdvertise: HostPort?
    let defaultImage: String
    let auditRetentionDays: Int
    let webhooksAllowPrivate: Bool
    let nodeLostAfterSeconds: Int
    let memoryOvercommit: Double
    let cpuOvercommit: Double
    let pidOvercommit: Double
    let diskOvercommit: Double

    private static let instanceSetting = Setting(
        "instance", .name, default: "main", help: "Name of this installation; state and ports of two must differ.")
    private static let stateSetting = Setting(
        "state.dir", .absolutePath, defaultDescription: "/var/lib/fastable/<instance>/controller",
        help: "Where the database, the authority's key and the first token are kept."
    ) { "/var/lib/fastable/\($0[instanceSetting])/controller" }

    private static let apiListenSetting = Setting(
        "api.listen", .address, default: HostPort.loopback(port: 7420), help: "Where the public API listens.")
    private static let apiPublicURLSetting = Setting<String?>(
        optional: "api.publicURL", .text, help: "Address under which nodes and people reach the API, if it is another.")
    private static let certificateSetting = Setting<String?>(
        optional: "tls.certificate", .absolutePath, help: "PEM file with the API's certificate chain; turns TLS on.")
    private static let keySetting = Setting<String?>(
        optional: "tls.key", .absolutePath, help: "PEM file with the certificate's key.")
    private static let plainSetting = Setting(
        "api.allowPlainHTTP", .toggle, default: false,
        help: "Plain HTTP also on addresses that others can reach, for a proxy in front that speaks TLS.")
    private static let originsSetting = Setting(
        "api.allowedOrigins", .list, default: [], help: "Web origins whose pages may use MCP.")

    private static let nodeListenSetting = Setting(
        "node.listen", .address, default: HostPort.loopback(port: 7421), help: "Where nodes dial in, with mutual TLS.")
    private static let nodeAdvertiseSetting = Setting<HostPort?>(
        optional: "node.advertise", .address,
        help: "What nodes dial, if it is another address (behind NAT, a host name).")
    private static let lostSetting = Setting(
        "node.lostAfterSeconds", .integer(Limits.nodeLostAfterSecondsLeast...Limits.drainDeadlineSecondsHighest),
        default: Limits.nodeLostAfterSeconds, help: "A node without a link for so many seconds is lost.")
    private static let imageSetting = Setting(
        "projects.image", .text, default: "vibn-dev", help: "Image of a project that names none.")

    private static let memorySetting = overcommit(
        "capacity.memory", Limits.memoryOvercommit, "memory limits of a node's awake containers")
    private static let cpuSetting = overcommit(
        "capacity.cpu", Limits.cpuOvercommit, "CPU limits of a node's awake containers")
    private static let pidSetting = overcommit(
        "capacity.pids", Limits.pidOvercommit, "process limits of a node's awake containers")
    private static let diskSetting = overcommit(
        "capacity.disk", Limits.diskOvercommit, "disks of all projects of a node that have one of their own")

    private static func overcommit(_ name: String, _ standard: Double, _ what: String) -> Setting<Double> {
        Setting(
            name, .number(0.1...Limits.overcommitHighest), default: standard,
            help: "The \(what) may add up to so many times what it has.")
    }

    private static let retentionSetting = Setting(
        "audit.retentionDays", .integer(0...Limits.auditRetentionDaysHighest), default: Limits.auditRetentionDays,
        help: "How many days the audit is kept; 0 keeps it for ever.")

    private static let privateWebhooksSetting = Setting(
        "webhooks.allowPrivate", .toggle, default: false,
        help: "Webhooks may lead to private and loopback addresses, and over plain HTTP.")

    static let schema = ConfigurationSchema(
        program: "fastable-controller", summary: "Decides where projects live, and is the door to them.",
        groups: [
            SettingGroup("Installation", instanceSetting, stateSetting),
            SettingGroup(
                "Public API", apiListenSetting, apiPublicURLSetting, certificateSetting, keySetting, plainSetting,
                originsSetting),
            SettingGroup("Nodes and projects", nodeListenSetting, nodeAdvertiseSetting, lostSetting, imageSetting),
            SettingGroup("Capacity of nodes", memorySetting, cpuSetting, pidSetting, diskSetting),
            SettingGroup("Audit and webhooks", retentionSetting, privateWebhooksSetting),
        ],
        examples: [
            ConfigurationExample("fastable-controller", "on loopback, with state in /var/lib/fastable/main"),
            ConfigurationExample(
                "fastable-controller --api-listen 0.0.0.0:7420 --tls-certificate /etc/fastable/tls.crt "
                    + "--tls-key /etc/fastable/tls.key --node-listen 0.0.0.0:7421 --node-advertise ctl.example.com:7421",
                "for a fleet"),
        ])

    init(_ values: ConfigurationValues) throws {
        instance = values[Self.instanceSetting]
        stateDirectory = values[Self.stateSetting]
        apiListen = values[Self.apiListenSetting]
        apiPublicURL = values[Self.apiPublicURLSetting]
        tlsCertificate = values[Self.certificateSetting]
        tlsKey = values[Self.keySetting]
        allowPlainHTTP = values[Self.plainSetting]
        allowedOrigins = values[Self.originsSetting]
        nodeListen = values[Self.nodeListenSetting]
        nodeAdvertise = values[Self.nodeAdvertiseSetting]
        defaultImage = values[Self.imageSetting]
        auditRetentionDays = values[Self.retentionSetting]
        nodeLostAfterSeconds = values[Self.lostSetting]
        memoryOvercommit = values[Self.memorySetting]
        cpuOvercommit = values[Self.cpuSetting]
        pidOvercommit = values[Self.pidSetting]
        diskOvercommit = values[Self.diskSetting]
        webhooksAllowPrivate = values[Self.privateWebhooksSetting]
        guard (tlsCertificate == nil) == (tlsKey == nil) else {
            throw values.invalid(Self.keySetting, "goes together with ‘tls.certificate’: give both or none")
        }
    }
}
