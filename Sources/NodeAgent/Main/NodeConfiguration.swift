import FastableCore
import FastableDaemon

/// What an operator can tell the node daemon; `join` and `teardown` understand the same settings.
struct NodeConfiguration: DaemonConfiguration {
    let instance: String
    let stateDirectory: String
    let runDirectory: String
    let initProgram: String
    let addressPool: String
    let resolvers: [String]
    let deniedNetworks: [String]
    let runtime: String
    let projectDiskBytes: Int
    let diskPercents: DiskPressurePercents
    let startsAtOnce: Int
    let startsPerMinute: Int
    let insecureRegistries: [String]

    static let instanceSetting = Setting(
        "instance", .name, default: "main",
        help: "Name of this node on its host; state, subnets, rules and cgroups carry it.")
    static let stateSetting = Setting(
        "state.dir", .absolutePath, defaultDescription: "/var/lib/fastable/<instance>/node",
        help: "Projects, images and the node's identity."
    ) { "/var/lib/fastable/\($0[instanceSetting])/node" }
    static let runSetting = Setting(
        "run.dir", .absolutePath, defaultDescription: "/run/fastable/<instance>",
        help: "Sockets and mounts of running containers."
    ) { "/run/fastable/\($0[instanceSetting])" }
    static let initSetting = Setting(
        "container.init", .absolutePath, defaultDescription: "fastable-init beside this program",
        help: "The program that runs as process 1 of each container."
    ) { _ in ProgramPath.beside("fastable-init") }
    static let poolSetting = Setting(
        "network.pool", .text, default: "10.224.0.0/15",
        help: "Addresses for containers; each node on the host leases a /20 of it that no route uses.")
    static let resolverSetting = Setting(
        "network.resolvers", .list, default: [],
        help: "Name servers for containers; those of the host unless given. Loopback addresses cannot be reached.")
    static let deniedSetting = Setting(
        "network.denied", .list, default: [],
        help: "Networks that containers must not reach although their addresses are public, like 203.0.113.0/24.")
    static let runtimeSetting = Setting(
        "container.runtime", .text, default: "runc", help: "The OCI runtime: a name on the PATH, or an absolute path.")

    static let diskSetting = Setting(
        "disk.perProject", .bytes(0...Limits.projectDiskBytesHighest), default: 0,
        help:
            "Size of a disk of its own for each new project, which bounds what it can fill; 0 is none. Smaller ones grow."
    )

    private static func percent(_ key: String, _ standard: Int, _ help: String) -> Setting<Int> {
        Setting(key, .integer(0...Limits.diskPercentHighest), default: standard, help: help)
    }
    static let lowSetting = percent(
        "disk.lowPercent", Limits.diskLowPercent,
        "Operators are told when less of the state directory's disk is free, in space or files.")
    static let reclaimSetting = percent(
        "disk.reclaimPercent", Limits.diskReclaimPercent,
        "Below it unused images of registries and caches of projects that rest are dropped, and no project is placed here."
    )
    static let refuseSetting = percent(
        "disk.refusePercent", Limits.diskRefusePercent,
        "Below it no container is started, and no project and no image is taken.")
    static let startsSetting = Setting(
        "container.startsAtOnce", .integer(1...Limits.startsAtOnceHighest), default: Limits.startsAtOnce,
        help: "Containers that are started at a time; others wait for their turn.")
    static let rateSetting = Setting(
        "container.startsPerMinute", .integer(1...Limits.startsPerMinuteHighest), default: Limits.startsPerMinute,
        help:
            "Starts that begin in a minute, of which \(Limits.startBurstSeconds) seconds' worth may begin at once; others wait for their turn."
    )

    static let insecureSetting = Setting(
        "images.insecureRegistries", .list, default: [],
        help: "Registries, each as host:port, that images come from without TLS: whoever is on the way can change them."
    )

    static let groups = [
        SettingGroup(
            "Node", instanceSetting, stateSetting, runSetting, initSetting, runtimeSetting, startsSetting, rateSetting),
        SettingGroup("Disk", diskSetting, lowSetting, reclaimSetting, refuseSetting),
        SettingGroup("Images", insecureSetting),
        SettingGroup("Network", poolSetting, resolverSetting, deniedSetting),
    ]

    static let schema = ConfigurationSchema(
        program: "fastable-node",
        summary:
            "Runs the containers of a build host for its controller. Also: fastable-node join, kill-switch, teardown.",
        groups: groups,
        examples: [
            ConfigurationExample("fastable-node join --token-file /root/join-token", "make this host a node"),
            ConfigurationExample("fastable-node", "run it"),
            ConfigurationExample(
                "fastable-node kill-switch on --reason TEXT",
                "end all containers of the host, also without controller or daemon, and let none start"),
            ConfigurationExample(
                "fastable-node teardown", "remove its containers, rules, mounts and cgroups; data stays"),
        ])

    init(_ values: ConfigurationValues) throws {
        instance = values[Self.instanceSetting]
        stateDirectory = values[Self.stateSetting]
        runDirectory = values[Self.runSetting]
        initProgram = values[Self.initSetting]
        addressPool = values[Self.poolSetting]
        resolvers = values[Self.resolverSetting]
        deniedNetworks = values[Self.deniedSetting]
        runtime = values[Self.runtimeSetting]
        projectDiskBytes = values[Self.diskSetting]
        startsAtOnce = values[Self.startsSetting]
        startsPerMinute = values[Self.rateSetting]
        insecureRegistries = try Self.registries(values[Self.insecureSetting])
        diskPercents = DiskPressurePercents(
            low: values[Self.lowSetting], reclaiming: values[Self.reclaimSetting], refusing: values[Self.refuseSetting])
        guard diskPercents.isOrdered else {
            throw FastableError(
                .invalid,
                "‘disk.refusePercent’ may not be above ‘disk.reclaimPercent’, nor that above ‘disk.lowPercent’.",
                details: ["field": "disk.reclaimPercent"])
        }
        guard projectDiskBytes == 0 || projectDiskBytes >= Limits.projectDiskBytesLeast else {
            throw FastableError(
                .invalid, "A project's disk has \(Limits.projectDiskBytesLeast) bytes or more; 0 makes none.",
                details: ["field": "disk.perProject"])
        }
    }
}

extension NodeConfiguration {
    /// Only what a reference can begin with: anything else would be a mistake that nobody notices.
    private static func registries(_ texts: [String]) throws -> [String] {
        guard texts.count <= Limits.insecureRegistries, texts.allSatisfy(isRegistry) else {
            throw FastableError(
                .invalid,
                "‘images.insecureRegistries’ takes up to \(Limits.insecureRegistries) registries, each as host:port.",
                details: ["field": "images.insecureRegistries"])
        }
        return texts
    }

    /// As references spell it: with a port, as nobody writes it otherwise, and without brackets, which no reference has.
    private static func isRegistry(_ text: String) -> Bool {
        guard let place = HostPort(text), place.port > 0 else { return false }
        return place.description == text && !text.hasPrefix("-") && !text.hasPrefix("[")
    }
}

/// `fastable-node join`
struct JoinConfiguration: DaemonConfiguration {
    let node: NodeConfiguration
    let tokenFile: String
    let name: String?

    private static let tokenSetting = Setting(
        required: "token.file", .absolutePath, help: "File with the token that ‘fastable node token’ printed.")
    private static let nameSetting = Setting<String?>(
        optional: "node.name", .text, help: "What to call the node; its host name unless given.")

    static let schema = ConfigurationSchema(
        program: "fastable-node", summary: "Makes this host a node of the controller that made the join token.",
        groups: [SettingGroup("Joining", tokenSetting, nameSetting)] + NodeConfiguration.groups)

    init(_ values: ConfigurationValues) throws {
        node = try NodeConfiguration(values)
        tokenFile = values[Self.tokenSetting]
        name = values[Self.nameSetting]
    }
}

/// `fastable-node kill-switch on|off|status`
struct KillSwitchConfiguration: DaemonConfiguration {
    let node: NodeConfiguration
    let isNetworkOnly: Bool
    let reason: String

    private static let networkSetting = Setting(
        "network.only", .toggle, default: false, help: "Containers go on; no packet goes in or out of them.")
    private static let reasonSetting = Setting(
        "reason", .text, default: "An operator of the host set it.", help: "Why; whoever is refused is told.")

    static let schema = ConfigurationSchema(
        program: "fastable-node",
        summary:
            "Switches this host off, and on again: fastable-node kill-switch on|off|status. It works without the "
            + "controller and without the daemon, and stays over restarts.",
        groups: [SettingGroup("Kill switch", networkSetting, reasonSetting)] + NodeConfiguration.groups)

    init(_ values: ConfigurationValues) throws {
        node = try NodeConfiguration(values)
        isNetworkOnly = values[Self.networkSetting]
        reason = values[Self.reasonSetting]
        guard reason.utf8.count <= Limits.killReasonBytes else {
            throw FastableError(.invalid, "The reason has more than \(Limits.killReasonBytes) bytes. Make it shorter.")
        }
    }
}

/// `fastable-node teardown`
struct TeardownConfiguration: DaemonConfiguration {
    let node: NodeConfiguration
    let removesData: Bool

    private static let dataSetting = Setting(
        "data", .toggle, default: false,
        help: "Also the projects' files, images and the lease of addresses. Not undone.")

    static let schema = ConfigurationSchema(
        program: "fastable-node",
        summary: "Removes this node's containers, network rules, mounts and cgroups. The daemon must not run.",
        groups: [SettingGroup("What to remove", dataSetting)] + NodeConfiguration.groups)

    init(_ values: ConfigurationValues) throws {
        node = try NodeConfiguration(values)
        removesData = values[Self.dataSetting]
    }
}
