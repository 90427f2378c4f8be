import FastableCore
import FoundationEssentials
import TestSupport
import Testing

@Suite struct IdentifierTests {
    @Test func roundTrip() throws {
        for _ in 0..<100 {
            let id = ProjectID()
            #expect(ProjectID(id.description) == id)
            #expect(id.description.hasPrefix("prj_"))
            #expect(id.description.utf8.count == 30)
            #expect(try JSON.decode(ProjectID.self, from: try JSON.encode(id)) == id)
        }
    }

    /// The example of the TypeID specification: both texts are the same 128 bits.
    @Test func isTheTextFormOfTypeID() {
        var fixed = FixedGenerator(values: [0x0195_3f7e_8a2c, 0])
        let id = ProjectID(milliseconds: 0x0195_3f7e_8a2c, using: &fixed)
        // 0x01953f7e8a2c then version 7 and the low 12 bits of the first random word, then the variant bits.
        #expect(id.description == "prj_" + crockford(high: 0x0195_3f7e_8a2c_7a2c, low: 0x8000_0000_0000_0000))
    }

    @Test func versionAndVariantAreThoseOfUUIDv7() throws {
        let seed = UInt64.random(in: 0 ... .max)
        var random = SeededGenerator(seed: seed)
        for _ in 0..<200 {
            let milliseconds = UInt64.random(in: 0..<(1 << 48), using: &random)
            let (high, low) = bits(ExecID(milliseconds: milliseconds, using: &random))
            #expect(high >> 16 == milliseconds, "seed \(seed)")
            #expect(high >> 12 & 0xf == 7, "seed \(seed)")
            #expect(low >> 62 == 0b10, "seed \(seed)")
        }
    }

    @Test func laterOnesSortAfterEarlierOnes() {
        var random = SeededGenerator(seed: 1)
        let ids = [0, 1, 31, 32, 1 << 20, 1_700_000_000_000, (1 << 48) - 1].map {
            NodeID(milliseconds: $0, using: &random)
        }
        #expect(ids == ids.shuffled().sorted())
        #expect(ids.map(\.description) == ids.map(\.description).shuffled().sorted())
    }

    @Test func differ() {
        #expect(Set((0..<10_000).map { _ in RequestID() }).count == 10_000)
    }

    @Test(arguments: [
        "", "prj", "prj_", "prj_01jd4x", "exe_01jd4xq9wzf2x8k3m5n7p9r1s2", "PRJ_01jd4xq9wzf2x8k3m5n7p9r1s2",
        "prj_01JD4XQ9WZF2X8K3M5N7P9R1S2", "prj_81jd4xq9wzf2x8k3m5n7p9r1s2", "prj_01jd4xq9wzf2x8k3m5n7p9r1si",
        "prj_01jd4xq9wzf2x8k3m5n7p9r1s2x", "prj_01jd4xq9wzf2x8k3m5n7p9r1s", "prj-01jd4xq9wzf2x8k3m5n7p9r1s2",
        "prj_01jd4xq9wzf2x8k3m5n7p9r1s\u{0}", "prj_../../../../../../etc/passwd", "prj_01jd4xq9wzf2x8k3m5n7p9ré",
    ])
    func refusesOtherTexts(text: String) throws {
        #expect(ProjectID(text) == nil)
        let data = try JSON.encode(text)
        #expect(throws: FastableError.self) { try JSON.decode(ProjectID.self, from: data) }
    }

    @Test func acceptsTheLongestValue() {
        #expect(ProjectID("prj_7zzzzzzzzzzzzzzzzzzzzzzzzz") != nil)
        #expect(ProjectID("prj_01jd4xq9wzf2x8k3m5n7p9r1s2") != nil)
    }

    @Test func prefixesAreUnique() {
        let prefixes = [
            WorkspaceKind.prefix, ProjectKind.prefix, ContainerKind.prefix, ExecKind.prefix, NodeKind.prefix,
            TokenKind.prefix, RequestKind.prefix,
        ]
        #expect(Set(prefixes).count == prefixes.count)
        #expect(prefixes.allSatisfy { $0.count == 3 && $0.allSatisfy { $0.isLowercase && $0.isASCII } })
    }
}

/// An independent reading of the text: the sum of its digits.
private func bits<Kind: IDKind>(_ id: ID<Kind>) -> (high: UInt64, low: UInt64) {
    var (high, low): (UInt64, UInt64) = (0, 0)
    for character in id.description.split(separator: "_")[1] {
        let digit = alphabet.firstIndex(of: character).map(UInt64.init) ?? 0
        high = high << 5 | low >> 59
        low = low << 5 | digit
    }
    return (high, low)
}

private let alphabet = Array("0123456789abcdefghjkmnpqrstvwxyz")

private func crockford(high: UInt64, low: UInt64) -> String {
    (0..<26).map { place in
        let shift = 125 - 5 * place
        let digit =
            switch shift {
            case 64...: high >> UInt64(shift - 64)
            case 60...63: high << UInt64(64 - shift) | low >> UInt64(shift)
            default: low >> UInt64(shift)
            }
        return String(alphabet[Int(digit & 31)])
    }.joined()
}
