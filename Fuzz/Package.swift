// swift-tools-version: 6.2
import Foundation
import PackageDescription

/// The fuzzer of `make fuzz`. It is a package of its own so that the ordinary build has no part in it, and it takes of each module
/// only the files that hostile bytes reach: so neither TLS nor HTTP nor SQLite are built once more.
///
/// Its `Sources` and `Tests` are links to those of the repository.
let settings: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")

/// A module whose coverage leads the search; of its folder only `files`, when there are some.
func module(
    _ name: String, _ path: String, _ dependencies: [Target.Dependency], files: [String]? = nil,
    excluding: [String] = []
) -> Target {
    let all = (try? FileManager.default.contentsOfDirectory(atPath: Context.packageDirectory + "/" + path)) ?? []
    let others = files.map { files in all.filter { !files.contains($0) } } ?? []
    return .target(
        name: name, dependencies: dependencies, path: path, exclude: excluding + others,
        swiftSettings: settings + [.unsafeFlags(["-sanitize=fuzzer"])])
}

let package = Package(
    name: "fastable-fuzz",
    platforms: [.macOS(.v15)],
    dependencies: [.package(url: "https://github.com/apple/swift-nio", from: "2.101.2")],
    targets: [
        module("FastableCore", "Sources/Shared/Core", []),
        module(
            "FastableWire", "Sources/Shared/Wire", ["FastableCore", nioCore],
            files: [
                "Frame.swift", "FrameCodec.swift", "FrameStreamDecoder.swift", "MuxCore.swift", "MuxCore+Loop.swift",
                "MuxCore+Tasks.swift", "MuxErrorText.swift", "MuxSettings.swift", "MuxStateMachine.swift",
                "MuxStateMachine+Local.swift", "MuxStateMachine+Output.swift", "MuxStateMachine+Streams.swift",
                "MuxStream.swift", "MuxStreamState.swift",
            ]),
        module("FastableArchive", "Sources/Shared/Archive", ["FastableCore"]),
        .target(name: "CLinux", path: "Sources/CLinux"),
        module("NodeLinux", "Sources/NodeAgent/Linux", ["FastableCore", "CLinux"]),
        module(
            "NodeFiles", "Sources/NodeAgent/Files", ["FastableCore", "FastableArchive", "NodeLinux", "CLinux"],
            files: [
                "Cancellation.swift", "EditEngine.swift", "EditHints.swift", "PendingFile.swift",
                "TemporaryNames.swift", "TextSearch.swift", "TreeUnpacker.swift", "UTF8Validator.swift",
            ]),
        module(
            "NodeSandbox", "Sources/NodeAgent/Sandbox/Exec", ["FastableCore", "FastableWire", "CLinux", nioCore],
            files: [
                "ExecChunk.swift", "ExecFollowers.swift", "ExecInput.swift", "ExecLog.swift", "ExecState.swift",
                "ExecUser.swift", "InitMessages.swift", "SecretPatterns.swift", "SecretRedactor.swift",
                "SpawnValidation.swift",
            ]),
        module("SimulatedInit", "Tests/SimulatedInit", ["CLinux"], excluding: ["Init/Program.swift"]),
        .target(
            name: "FuzzTargets",
            dependencies: [
                "FastableCore", "FastableArchive", "FastableWire", "NodeLinux", "NodeFiles", "NodeSandbox",
                "SimulatedInit", "CLinux", nioCore,
            ],
            path: "Tests/FuzzTargets", swiftSettings: settings),
        .systemLibrary(name: "CLibFuzzer", path: "CLibFuzzer"),
        .executableTarget(
            name: "fuzz", dependencies: ["FuzzTargets", "FastableCore", "CLibFuzzer"], path: "Driver",
            swiftSettings: settings, linkerSettings: [.unsafeFlags(["-sanitize=fuzzer", "-use-ld=lld"])]),
    ]
)
