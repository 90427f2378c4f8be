import FastableCompression
import FastableCore
import FoundationEssentials
import NodeLinux
import TestSupport
import Testing

@Suite struct ZstdTests {
    private func compress(_ bytes: [UInt8], pieces: Int = 100_000, level: Int = 1) throws -> [UInt8] {
        var encoder = try ZstdEncoder(level: level)
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            try bytes[start..<min(start + pieces, bytes.count)].withUnsafeBytes {
                try encoder.compress($0, into: &output)
            }
        }
        try encoder.finish(into: &output)
        return output
    }

    private func expand(_ bytes: [UInt8], pieces: Int = 100_000) throws -> (bytes: [UInt8], isComplete: Bool) {
        var decoder = try ZstdDecoder()
        var output: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: pieces) {
            decoder.append(Array(bytes[start..<min(start + pieces, bytes.count)]))
            while let part = try decoder.next() { output += part }
        }
        return (output, decoder.isComplete)
    }

    private func zstd(_ arguments: [String], _ input: [UInt8]) async throws -> [UInt8] {
        let command = HostCommand("zstd", arguments + ["--stdout", "-"], standardInput: Data(input))
        return Array(try await command.run(outputLimit: 64 * 1024 * 1024).checked("run zstd").stdout)
    }

    /// Words of a small dictionary: compressible, and nowhere the same.
    private static func words(_ count: Int, seed: UInt64 = 7) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).flatMap { _ in Array("word\(generator.int(0...5000)) ".utf8) }
    }

    private static func noise(_ count: Int, seed: UInt64 = 7) -> [UInt8] {
        var generator = SeededGenerator(seed: seed)
        return (0..<count).map { _ in UInt8.random(in: 0...255, using: &generator) }
    }

    static let contents: [[UInt8]] = [
        [], [1], words(40_000), noise(300_000), [UInt8](repeating: 0, count: 3_000_000),
    ]

    @Test(arguments: contents.indices, [1, 3, 4, 5, 1000, 10_000_000])
    func thereAndBack(content: Int, pieces: Int) throws {
        let bytes = Self.contents[content]
        guard pieces > 5 || bytes.count < 500_000 else { return }
        let result = try expand(try compress(bytes, pieces: max(pieces, 100)), pieces: pieces)
        #expect(result.bytes == bytes && result.isComplete)
    }

    @Test(arguments: contents.indices) func theProgramReadsOurs(content: Int) async throws {
        #expect(try await zstd(["-d"], try compress(Self.contents[content])) == Self.contents[content])
    }

    @Test(arguments: [["-1"], ["-3", "--no-check"], ["-19"], ["-9", "--long=23"], ["--fast=5"], ["-T2", "-B1MB"]])
    func weReadTheProgram(options: [String]) async throws {
        for content in Self.contents {
            let result = try expand(try await zstd(options, content), pieces: 10_000)
            #expect(result.bytes == content && result.isComplete)
        }
    }

    /// As `cat a.zst b.zst` makes it, with a frame between them that is to be skipped.
    @Test(arguments: [1, 5, 1000]) func framesFollowEachOther(pieces: Int) throws {
        let skipped: [UInt8] = [0x5a, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 7, 7, 7]
        let bytes = try compress(Self.words(100)) + skipped + compress([]) + compress([5, 6])
        let result = try expand(bytes, pieces: pieces)
        #expect(result.bytes == Self.words(100) + [5, 6] && result.isComplete)
    }

    @Test func aBeginningIsNeverComplete() throws {
        let whole = try compress(Self.words(3000))
        for count in stride(from: 1, to: whole.count, by: 37) {
            #expect(try !expand(Array(whole.prefix(count))).isComplete, "\(count) of \(whole.count)")
        }
        #expect(try !expand(whole + whole.prefix(2)).isComplete)
    }

    @Test func otherThingsAreRefused() throws {
        let whole = try compress([1, 2, 3])
        let gzip: [UInt8] = [0x1f, 0x8b, 8, 0]
        // The format of 2016, which the library still knows.
        let legacy: [UInt8] = [0x27, 0xb5, 0x2f, 0xfd, 0x20, 0, 0, 0, 0, 0, 0, 0, 0]
        for bytes in [gzip, legacy, whole + [0, 0, 0, 0], whole + Array("garbage".utf8), Self.noise(100)] {
            for pieces in [1, 1000] { expectFailure(.invalid) { _ = try expand(bytes, pieces: pieces) } }
        }
    }

    @Test func aWindowThatIsTooLargeIsRefused() async throws {
        for bytes in [
            try await zstd(["--ultra", "-22", "--long=27"], Self.words(10_000)),
            // The head of a frame that wants two terabytes.
            [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0xf8] + [UInt8](repeating: 0, count: 20),
        ] { try expectTooLarge(bytes) }
    }

    private func expectTooLarge(_ bytes: [UInt8]) throws {
        expectFailure(.tooLarge, "8 MiB", "--long") { _ = try expand(bytes) }
    }

    /// What was changed on its way is never taken for whole and different.
    @Test(arguments: seeds()) func damageIsSeen(seed: UInt64) throws {
        var generator = SeededGenerator(seed: seed)
        let content = Self.words(2000, seed: seed)
        let whole = try compress(content)
        for _ in 0..<300 {
            var bytes = whole
            for _ in 0..<generator.int(1...3) {
                bytes[generator.int(0...(bytes.count - 1))] ^= 1 << UInt8(generator.int(0...7))
            }
            do {
                let result = try expand(bytes, pieces: generator.int(1...3000))
                #expect(!result.isComplete || result.bytes == content)
            } catch let error as FastableError { #expect([.invalid, .tooLarge].contains(error.code)) }
        }
    }

    /// Some kilobytes that stand for a gigabyte come in small parts, for which a few megabytes of memory do.
    @Test func aBombIsExpandedBitByBit() throws {
        let frame = try compress([UInt8](repeating: 0, count: 64 << 20))
        #expect(frame.count < 10_000)
        var decoder = try ZstdDecoder()
        var total = 0
        let before = try privateKilobytes()
        for _ in 0..<16 {
            decoder.append(frame)
            while let part = try decoder.next() {
                #expect(part.count <= 256 * 1024)
                total += part.count
            }
        }
        let isWhole = decoder.isComplete
        #expect(total == 1 << 30 && isWhole)
        // Other tests run beside this one.
        #expect(try privateKilobytes() - before < 256 * 1024)
    }

    private func privateKilobytes() throws -> Int {
        let status = try FileDescriptor(opening: "/proc/self/status", 0).readAll(limit: 10_000)
        let line = String(decoding: status, as: UTF8.self).split(separator: "\n").first { $0.hasPrefix("RssAnon:") }
        return try #require(line?.split(separator: " ").dropFirst().first.flatMap { Int($0) })
    }
}
