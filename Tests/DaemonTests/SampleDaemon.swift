import FastableCore
import FastableDaemon

/// A daemon's configuration as the real ones declare theirs.
struct SampleConfiguration: DaemonConfiguration {
    enum Runtime: String, Sendable, CaseIterable { case runc, crun, runsc }

    static let instance = Setting("instance", .name, default: "default", help: "Keeps daemons on one host apart")
    static let state = Setting(
        "state.directory", .absolutePath, defaultDescription: "/var/lib/fastable/<instance>/node",
        help: "What must survive a restart"
    ) { "/var/lib/fastable/\($0[instance])/node" }
    static let listen = Setting("api.listen", .address, default: .loopback(port: 7420), help: "Where the API listens")
    static let certificateFile = Setting(optional: "api.certificateFile", .absolutePath, help: "PEM, for TLS")
    static let insecure = Setting("api.allowInsecure", .toggle, default: false, help: "Serve others without TLS")
    static let runtime = Setting(
        "sandbox.runtime", SettingType<Runtime>.choice, default: .runc, help: "The OCI runtime")
    static let slots = Setting("sandbox.slots", .integer(1...1000), default: 100, help: "Projects at most")
    static let memory = Setting("sandbox.memory", .bytes(1...(1 << 40)), default: 1 << 30, help: "Per container")
    static let idle = Setting(
        "sandbox.idle", .duration(.seconds(1)...(.seconds(86_400))), default: .seconds(1800), help: "Until suspended")
    static let labels = Setting("labels", .list, default: [], help: "For placement")
    static let token = Setting(optional: "join.token", .secret, help: "From: fastable node token")

    static let schema = ConfigurationSchema(
        program: "fastable-sample", summary: "A daemon that exists for tests.",
        groups: [
            SettingGroup("General", instance, state, labels, token),
            SettingGroup("API", listen, certificateFile, insecure),
            SettingGroup("Sandbox", runtime, slots, memory, idle),
        ],
        examples: [ConfigurationExample("fastable-sample --instance two", "Runs a second one beside the first")])

    let state: String
    let listen: HostPort
    let certificateFile: String?
    let token: Secret?

    init(_ values: ConfigurationValues) throws {
        state = values[Self.state]
        listen = values[Self.listen]
        certificateFile = values[Self.certificateFile]
        token = values[Self.token]
        guard listen.isLoopback || certificateFile != nil || values[Self.insecure] else {
            throw values.invalid(Self.listen, "must be loopback unless api.certificateFile is set")
        }
    }
}

/// Loads the sample's configuration; no file unless one is named.
func load(
    _ arguments: [String] = [], environment: [String: String] = [:], file: String? = nil
) throws -> ConfigurationValues {
    switch try outcome(arguments, environment: environment, file: file) {
    case .run(let values): return values
    case .print(let text): throw FastableError(.internal, "printed: \(text)")
    }
}

func printed(
    _ arguments: [String], environment: [String: String] = [:], file: String? = nil
) throws -> String {
    switch try outcome(arguments, environment: environment, file: file) {
    case .run: throw FastableError(.internal, "would run")
    case .print(let text): return text
    }
}

private func outcome(
    _ arguments: [String], environment: [String: String], file: String?
) throws -> ConfigurationOutcome {
    try ConfigurationLoader(
        schema: SampleConfiguration.schema, arguments: arguments, environment: environment,
        defaultFile: file ?? "/nonexistent/sample.yaml"
    ).load()
}
