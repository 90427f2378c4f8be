package import FastableCore

/// Values for random tests.
package enum RandomJSON {
    package static func value(_ random: inout SeededGenerator, depth: Int) -> JSONValue {
        switch random.int(0...(depth > 0 ? 7 : 5)) {
        case 0: return .null
        case 1: return .bool(random.chance(50))
        case 2: return .integer(Int64.random(in: .min ... .max, using: &random))
        case 3: return .number(Double(random.int(-1_000_000...1_000_000)) + 0.5)
        case 4, 5: return .string(string(&random))
        case 6: return .array((0..<random.int(0...4)).map { _ in value(&random, depth: depth - 1) })
        default:
            let members = (0..<random.int(0...4)).map { _ in (string(&random), value(&random, depth: depth - 1)) }
            return .object(Dictionary(members) { first, _ in first })
        }
    }

    /// `1.0` and `1` are the same number; the decoder does not keep them apart.
    package static func normal(_ value: JSONValue) -> JSONValue {
        switch value {
        case .null, .bool, .integer, .string: value
        case .number(let number): Int64(exactly: number).map(JSONValue.integer) ?? value
        case .array(let elements): .array(elements.map(normal))
        case .object(let members): .object(members.mapValues(normal))
        }
    }

    package static func string(_ random: inout SeededGenerator) -> String {
        let alphabet = Array("abcxyz 0/\\\"\n\t\u{1}é漢😀")
        return String((0..<random.int(0...8)).map { _ in alphabet[random.int(0...(alphabet.count - 1))] })
    }
}
