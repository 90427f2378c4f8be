import Foundation
import FuzzTargets
import TestSupport
import Testing

/// What `make fuzz` has found and kept goes through the same code with every run of the tests.
@Suite("Kept corpus")
struct CorpusTests {
    private static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appending(path: "Corpus")
    private static let mostBytes = 1 << 20

    private static func inputs(_ target: FuzzTarget) throws -> [(name: String, bytes: [UInt8])] {
        let folder = folder.appending(path: target.rawValue)
        return try FileManager.default.contentsOfDirectory(atPath: folder.path).sorted().map {
            ($0, [UInt8](try Data(contentsOf: folder.appending(path: $0))))
        }
    }

    @Test(arguments: FuzzTarget.allCases)
    func everyKeptInputIsHandled(target: FuzzTarget) throws {
        let inputs = try Self.inputs(target)
        #expect(inputs.count >= target.seeds.count, "the corpus of \(target) must be there")
        for (name, bytes) in inputs { check(target, bytes, "Tests/Corpus/\(target.rawValue)/\(name)") }
    }

    @Test(arguments: FuzzTarget.allCases)
    func everySeedIsHandled(target: FuzzTarget) {
        for (index, bytes) in target.seeds.enumerated() { check(target, bytes, "seed \(index) of \(target)") }
    }

    @Test(arguments: FuzzTarget.allCases, seeds())
    func changedSeedsAreHandled(target: FuzzTarget, seed: UInt64) {
        var random = SeededGenerator(seed: seed)
        for _ in 0..<50 {
            guard var bytes = target.seeds.randomElement(using: &random) else { return }
            for _ in 0..<random.int(1...8) { bytes[random.int(0...bytes.count - 1)] = UInt8(random.int(0...255)) }
            check(target, bytes, "seed \(seed): \(bytes)")
        }
    }

    private func check(_ target: FuzzTarget, _ bytes: [UInt8], _ what: String) {
        #expect(throws: Never.self, "\(what)") { try target.run(bytes) }
    }

    @Test func theCorpusStaysSmall() throws {
        let sizes = try FuzzTarget.allCases.flatMap { try Self.inputs($0).map(\.bytes.count) }
        #expect(sizes.reduce(0, +) < Self.mostBytes)
    }
}
