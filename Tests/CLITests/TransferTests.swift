import FastableCore
import Foundation
import TestSupport
import Testing

@Suite("fastable fs upload and download", .serialized, .endsInTime)
struct TransferTests {
    private static func names(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).sorted()
    }

    @Test func filesOfAnySizeGoThereAndBack() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let (here, there) = (world.folder + "/here", world.folder + "/there")
            for folder in [here, there] {
                try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            }
            // More than fs.write takes, and nothing.
            let large = FakeExec.stdout + FakeExec.stdout + FakeExec.stdout
            #expect(large.count > Limits.fileWriteBytes)
            for (name, content) in [("large.bin", large), ("empty", Data()), ("ä b+c", Data([0, 255, 10]))] {
                try content.write(to: URL(fileURLWithPath: "\(here)/\(name)"))
                let sent = try await world.cli(["fs", "upload", "shop", "\(here)/\(name)", "sub/"]).requireSuccess()
                #expect(sent.text.hasPrefix("Created sub/\(name), ") && sent.errorText.isEmpty, "no progress in a pipe")
                #expect(world.node.files["sub/\(name)"] == content)
                try await world.cli(["fs", "download", "shop", "sub/\(name)", there]).requireSuccess()
                #expect(FileManager.default.contents(atPath: "\(there)/\(name)") == content)
                let piped = try await world.cli(["fs", "download", "shop", "sub/\(name)", "-"]).requireSuccess()
                #expect(piped.output == content)
            }
            try await world.cli(["fs", "upload", "shop", "-", "piped"], input: large).requireSuccess()
            #expect(world.node.files["piped"] == large)
            let json = try await world.cli(["fs", "upload", "shop", "\(here)/empty", "x", "--json"]).requireSuccess()
            #expect(try json.json()["path"] == "x")
            let got = try await world.cli(["fs", "download", "shop", "piped", "\(there)/p", "--json"]).requireSuccess()
            #expect(try got.json() == ["path": .string("\(there)/p"), "bytes": .integer(Int64(large.count))])
            #expect(Self.names(there) == ["empty", "large.bin", "p", "ä b+c"].sorted())
        }
    }

    @Test func aFileHereIsReplacedAsAWholeOrNotAtAll() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let files = FileManager.default
            let folder = world.folder + "/here"
            try files.createDirectory(atPath: folder, withIntermediateDirectories: true)
            let target = folder + "/target"
            try Data("old".utf8).write(to: URL(fileURLWithPath: target))
            try files.setAttributes([.posixPermissions: 0o640], ofItemAtPath: target)
            try files.createSymbolicLink(atPath: folder + "/link", withDestinationPath: "target")
            for name in ["broken", "whole"] {
                try await world.cli(["fs", "upload", "shop", "-", name], input: FakeExec.stdout).requireSuccess()
            }
            let broken = try await world.cli(["fs", "download", "shop", "broken", target])
            #expect(broken.status == 69 && broken.output.isEmpty, "\(broken)")
            #expect(files.contents(atPath: target) == Data("old".utf8))
            #expect(Self.names(folder) == ["link", "target"], "no draft is left")

            try await world.cli(["fs", "download", "shop", "whole", folder + "/link"]).requireSuccess()
            #expect(files.contents(atPath: target) == FakeExec.stdout)
            #expect(try files.destinationOfSymbolicLink(atPath: folder + "/link") == "target")
            #expect(try files.attributesOfItem(atPath: target)[.posixPermissions] as? Int == 0o640)
            // What is no file is written to, and stays what it is.
            try await world.cli(["fs", "download", "shop", "whole", "/dev/null"]).requireSuccess()
            #expect(
                try files.attributesOfItem(atPath: "/dev/null")[.type] as? FileAttributeType == .typeCharacterSpecial)
            #expect(try await world.cli(["fs", "download", "shop", "none", target]).failed(1, saying: "none"))
            #expect(
                try await world.cli(["fs", "download", "shop", "whole", folder + "/no/where"]).failed(
                    1, saying: "where"))
            #expect(Self.names(folder) == ["link", "target"])
        }
    }

    @Test func whatCannotBeReadIsNotSent() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let missing = try await world.cli(["fs", "upload", "shop", world.folder + "/nothing"])
            #expect(missing.failed(1, saying: "nothing"), "\(missing)")
            let directory = try await world.cli(["fs", "upload", "shop", world.folder])
            #expect(directory.failed(1, saying: "fastable push"), "\(directory)")
            let nameless = try await world.cli(["fs", "upload", "shop", "-"])
            #expect(nameless.failed(1, saying: "has no name"), "\(nameless)")
            // It can be opened, and not be read.
            let unreadable = try await world.cli(["fs", "upload", "shop", "/proc/self/mem", "mem"])
            #expect(unreadable.failed(1, saying: "/proc/self/mem"), "\(unreadable)")
            #expect(world.node.files.isEmpty)
        }
    }

    @Test func theSmallCommandsNameTheLargeOnes() async throws {
        try await CLIWorld.with { world in
            try await world.makeShop()
            let tooLarge = Data(count: Limits.fileWriteBytes + 1)
            let refused = try await world.cli(["fs", "write", "shop", "big"], input: tooLarge)
            #expect(refused.failed(1, saying: "fastable fs upload shop FILE big"), "\(refused)")
            try await world.cli(["fs", "write", "shop", "text", "--content", "a\nb\n"]).requireSuccess()
            let part = try await world.cli(["fs", "read", "shop", "text", "--limit", "1"])
            #expect(part.errorText.contains("fastable fs download shop text"))
        }
    }
}
