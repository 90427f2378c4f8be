// swift-tools-version: 6.2
import PackageDescription

/// Settings of every ordinary target. A warning is an error, so that none is ever left behind.
let swiftSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

/// `fastable-init` is PID 1 of each container: static, without the Swift runtime, and it starts without `/proc`.
let embeddedSettings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableExperimentalFeature("Embedded"),
    .unsafeFlags(["-wmo"]),
]

/// For what compares bytes one by one: without optimization the kept corpus takes minutes.
let optimizedSettings = swiftSettings + [.unsafeFlags(["-O"])]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioHTTP1 = Target.Dependency.product(name: "NIOHTTP1", package: "swift-nio")
let nioWebSocket = Target.Dependency.product(name: "NIOWebSocket", package: "swift-nio")
let nioSSL = Target.Dependency.product(name: "NIOSSL", package: "swift-nio-ssl")
let nioFoundation = Target.Dependency.product(name: "NIOFoundationEssentialsCompat", package: "swift-nio")
let deque = Target.Dependency.product(name: "DequeModule", package: "swift-collections")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let x509 = Target.Dependency.product(name: "X509", package: "swift-certificates")
let asn1 = Target.Dependency.product(name: "SwiftASN1", package: "swift-asn1")
let grdb = Target.Dependency.product(name: "GRDB", package: "GRDB.swift")
let hummingbird = Target.Dependency.product(name: "Hummingbird", package: "hummingbird")
let hummingbirdCore = Target.Dependency.product(name: "HummingbirdCore", package: "hummingbird")
let hummingbirdTLS = Target.Dependency.product(name: "HummingbirdTLS", package: "hummingbird")
let httpTypes = Target.Dependency.product(name: "HTTPTypes", package: "swift-http-types")
let httpClient = Target.Dependency.product(name: "AsyncHTTPClient", package: "async-http-client")
let lifecycle = Target.Dependency.product(name: "ServiceLifecycle", package: "swift-service-lifecycle")
let unixSignals = Target.Dependency.product(name: "UnixSignals", package: "swift-service-lifecycle")
let configuration = Target.Dependency.product(name: "Configuration", package: "swift-configuration")
let arguments = Target.Dependency.product(name: "ArgumentParser", package: "swift-argument-parser")

/// One module of ours: `name` for `import`, `path` so that the folders tell the design.
func module(
    _ name: String, _ path: String, _ dependencies: [Target.Dependency], excluding: [String] = [],
    settings: [SwiftSetting] = swiftSettings
) -> Target {
    .target(name: name, dependencies: dependencies, path: path, exclude: excluding, swiftSettings: settings)
}

/// With the Swift runtime in it: a host that runs it needs no toolchain, and a command of the CLI does not load 20 libraries first.
func program(_ name: String, _ path: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies, path: path, swiftSettings: swiftSettings,
        linkerSettings: [
            // What nobody looks up by its name at run time may go. The toolchain's own linker is ten times as fast as the other one,
            // and lays a program out so that less of it is in memory.
            .unsafeFlags(
                ["-static-stdlib", "-use-ld=lld", "-Xlinker", "--no-export-dynamic"], .when(platforms: [.linux])),
            // What libraries of Foundation name themselves only to who compiles against the static ones.
            .linkedLibrary("CoreFoundation", .when(platforms: [.linux])),
            .linkedLibrary("_FoundationICU", .when(platforms: [.linux])),
            .linkedLibrary("_FoundationCShims", .when(platforms: [.linux])),
            .linkedLibrary("_FoundationCollections", .when(platforms: [.linux])),
        ])
}

/// A test target; what all of them share stands in `TestSupport`.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(
        name: name, dependencies: dependencies + ["TestSupport"], path: "Tests/\(name)", swiftSettings: swiftSettings)
}

let package = Package(
    name: "fastable",
    platforms: [.macOS(.v15)],
    products: [
        .executable(name: "fastable-controller", targets: ["fastable-controller"]),
        .executable(name: "fastable-node", targets: ["fastable-node"]),
        .executable(name: "fastable", targets: ["fastable"]),
        .executable(name: "fastable-init", targets: ["fastable-init"]),
        // For tests only.
        .library(name: "SetClock", type: .dynamic, targets: ["SetClock"]),
    ],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections.git", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-certificates", from: "1.21.1"),
        .package(url: "https://github.com/apple/swift-asn1", from: "1.7.4"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(
            url: "https://github.com/apple/swift-configuration", from: "1.4.0",
            traits: [.defaults, "YAML", "CommandLineArguments"]),
        .package(url: "https://github.com/groue/GRDB.swift", from: "7.10.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
    ],
    targets: [
        // Shared: what both daemons and the CLI speak.
        module("FastableCore", "Sources/Shared/Core", []),
        module(
            "FastableWire", "Sources/Shared/Wire",
            ["FastableCore", nioCore, nioPosix, nioHTTP1, nioWebSocket, nioSSL]),
        module(
            "FastableIdentity", "Sources/Shared/Identity",
            ["FastableCore", nioSSL, crypto, x509, asn1]),
        module(
            "FastableDaemon", "Sources/Shared/Daemon",
            ["FastableCore", "CLinux", logging, configuration, lifecycle, unixSignals]),
        .systemLibrary(
            name: "CZstd", path: "Sources/CZstd", pkgConfig: "libzstd", providers: [.apt(["libzstd-dev"])]),
        module("FastableCompression", "Sources/Shared/Compression", ["FastableCore", "CZstd"]),
        module("FastableArchive", "Sources/Shared/Archive", ["FastableCore"]),

        // Controller: decides whether and where.
        module("ControllerDomain", "Sources/Controller/Domain", ["FastableCore"]),
        module("ControllerStore", "Sources/Controller/Store", ["FastableCore", "ControllerDomain", grdb, crypto]),
        module(
            "ControllerFleet", "Sources/Controller/Fleet",
            [
                "FastableCore", "FastableWire", "FastableIdentity", nioCore, nioPosix, nioSSL, nioFoundation, logging,
                lifecycle,
            ]),
        module(
            "ControllerServices", "Sources/Controller/Services",
            [
                "FastableCore", "FastableIdentity", "FastableCompression", "FastableArchive", "ControllerDomain",
                "ControllerStore", "ControllerFleet", "FastableWire", nioCore, nioPosix, nioHTTP1, nioFoundation,
                logging, lifecycle, crypto, httpClient,
            ]),
        module(
            "ControllerAPI", "Sources/Controller/API",
            [
                "FastableCore", "FastableWire", "ControllerDomain", "ControllerServices", hummingbird, hummingbirdCore,
                hummingbirdTLS,
                httpTypes, nioCore, nioPosix, nioHTTP1, nioWebSocket, nioSSL, nioFoundation, logging, lifecycle, crypto,
            ]),
        program(
            "fastable-controller", "Sources/Controller/Main",
            [
                "FastableCore", "FastableIdentity", "FastableDaemon", "ControllerStore", "ControllerFleet",
                "ControllerServices", "ControllerAPI", logging, nioCore,
            ]),

        // Node: decides how.
        .target(name: "CLinux", path: "Sources/CLinux", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        module("NodeLinux", "Sources/NodeAgent/Linux", ["FastableCore", "CLinux"]),
        module(
            "NodeFiles", "Sources/NodeAgent/Files",
            ["FastableCore", "FastableCompression", "FastableArchive", "NodeLinux", "CLinux", crypto]),
        module(
            "NodeSandbox", "Sources/NodeAgent/Sandbox",
            [
                "FastableCore", "FastableWire", "NodeLinux", "NodeFiles", "CLinux", nioCore, nioPosix, logging, deque,
            ]),
        module(
            "NodeControl", "Sources/NodeAgent/Control",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "NodeLinux", "NodeFiles", "NodeSandbox", nioCore,
                nioPosix, nioHTTP1, nioSSL, nioFoundation, logging, lifecycle, httpClient,
            ]),
        program(
            "fastable-node", "Sources/NodeAgent/Main",
            [
                "FastableCore", "FastableDaemon", "NodeSandbox", "NodeControl", logging, lifecycle, nioPosix,
            ]),

        // The two small programs.
        program(
            "fastable", "Sources/CLI",
            [
                "FastableCore", "FastableWire", "FastableCompression", arguments, httpClient, nioCore, nioFoundation,
                nioHTTP1, nioPosix, nioSSL, nioWebSocket,
            ]),
        .executableTarget(
            name: "fastable-init", dependencies: ["CLinux"], path: "Sources/Init", swiftSettings: embeddedSettings,
            linkerSettings: [.unsafeFlags(["-Xclang-linker", "-static", "-Xlinker", "-s"])]),

        // One test target per module, and three for the whole.
        module("TestSupport", "Tests/TestSupport", ["FastableCore", logging, nioCore, nioPosix, nioHTTP1]),
        // A time of day that the tests can set, for `LD_PRELOAD`.
        .target(name: "SetClock", path: "Tests/SetClock", cSettings: [.unsafeFlags(["-Wall", "-Wextra", "-Werror"])]),
        // `fastable-init` in a simulated kernel: its own sources, by a link, with other system calls.
        module(
            "SimulatedInit", "Tests/SimulatedInit", ["CLinux"], excluding: ["Init/Program.swift"],
            settings: optimizedSettings),
        module(
            "FuzzTargets", "Tests/FuzzTargets",
            [
                "FastableCore", "FastableArchive", "FastableWire", "NodeLinux", "NodeFiles", "NodeSandbox",
                "SimulatedInit", "CLinux", nioCore,
            ], settings: optimizedSettings),
        tests("CorpusTests", ["FuzzTargets"]),
        tests("CoreTests", ["FastableCore"]),
        tests("WireTests", ["FastableCore", "FastableWire", "FastableIdentity", nioCore, nioPosix, nioSSL]),
        tests("IdentityTests", ["FastableCore", "FastableIdentity", x509, crypto, asn1, nioCore, nioPosix, nioSSL]),
        tests("CompressionTests", ["FastableCore", "FastableCompression", "NodeLinux"]),
        tests("DaemonTests", ["FastableCore", "FastableDaemon", logging, lifecycle]),
        tests("DomainTests", ["FastableCore", "ControllerDomain"]),
        tests("StoreTests", ["FastableCore", "ControllerDomain", "ControllerStore", grdb, crypto]),
        tests(
            "ServicesTests",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "FastableCompression", "FastableArchive",
                "ControllerDomain", "ControllerStore", "ControllerFleet", "ControllerServices", nioCore, nioPosix,
                nioFoundation, logging, crypto,
            ]),
        tests(
            "APITests",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "ControllerDomain", "ControllerServices",
                "ControllerAPI", httpClient, nioCore, nioPosix, httpTypes, nioHTTP1, nioWebSocket, nioSSL,
                nioFoundation,
                lifecycle, logging,
            ]),
        tests("LinuxTests", ["FastableCore", "NodeLinux"]),
        tests(
            "FilesTests",
            ["FastableCore", "FastableCompression", "FastableArchive", "NodeLinux", "NodeFiles", crypto]),
        tests(
            "SandboxTests", ["FastableCore", "NodeLinux", "NodeFiles", "NodeSandbox", nioCore, nioPosix, logging]),
        tests(
            "InitTests",
            ["FastableCore", "FastableWire", "NodeLinux", "NodeSandbox", "SimulatedInit", "CLinux", nioCore, nioPosix]),
        tests(
            "CLITests",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "ControllerStore",
                "ControllerFleet", "ControllerServices", "ControllerAPI", "NodeControl", nioCore, nioPosix,
                nioFoundation,
            ]),
        tests(
            "IntegrationTests",
            [
                "FastableCore", "FastableWire", "FastableIdentity", "ControllerDomain", "ControllerStore",
                "ControllerFleet", "ControllerServices", "ControllerAPI", "NodeControl", "NodeSandbox", httpClient,
                nioCore,
                nioPosix, nioHTTP1, nioSSL, nioFoundation, x509, crypto, asn1,
            ]),
        tests(
            "HostTests",
            ["FastableCore", "FastableCompression", httpClient, nioCore, nioFoundation, nioHTTP1, crypto]),
        tests(
            "RepositoryTests",
            ["FastableCore", "FastableIdentity", "ControllerStore", "ControllerFleet", "ControllerServices"]),
    ]
)
