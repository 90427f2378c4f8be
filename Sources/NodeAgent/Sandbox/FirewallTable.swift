import FastableCore
package import FoundationEssentials

/// What the kernel has in a firewall table, without what differs each time the same rules are loaded.
package struct FirewallTable: Sendable, Equatable {
    /// The table itself, its sets, its chains and the rules of each, in order.
    private let entries: [JSONValue]
    /// The interfaces that are switched off. They change while the node runs, so they are no part of the comparison.
    package let cut: Set<String>

    /// Reads the listing of one table as `nft -j` prints it.
    package init(listing: Data) throws {
        let all = try JSON.decode(JSONValue.self, from: listing)["nftables"]?.array ?? []
        let own = all.filter { $0["metainfo"] == nil }
        cut = Set(own.flatMap { $0.isCutSet ? $0["set"]?["elem"]?.array ?? [] : [] }.compactMap(\.string))
        entries = own.map(Self.withoutCut).map(Self.withoutHandles)
    }

    private static func withoutCut(_ entry: JSONValue) -> JSONValue {
        guard entry.isCutSet, case .object(var set)? = entry["set"] else { return entry }
        set["elem"] = nil
        return ["set": .object(set)]
    }

    private static func withoutHandles(_ value: JSONValue) -> JSONValue {
        switch value {
        case .object(let members):
            .object(members.filter { $0.key != "handle" }.mapValues(withoutHandles))
        case .array(let elements): .array(elements.map(withoutHandles))
        case .null, .bool, .integer, .number, .string: value
        }
    }

    /// Says what somebody removed or added; `nil` when the tables are the same.
    package func difference(from expected: FirewallTable) -> String? {
        guard entries != expected.entries else { return nil }
        let texts = entries.map(Self.text)
        let wanted = expected.entries.map(Self.text)
        let changes =
            Self.rest(wanted, without: texts).map { "removed \($0)" }
            + Self.rest(texts, without: wanted).map { "added \($0)" }
        return changes.isEmpty ? "the order was changed" : changes.joined(separator: "; ")
    }

    /// The elements of a list that another one does not have as often.
    private static func rest(_ texts: [String], without others: [String]) -> [String] {
        var others = others
        return texts.filter { text in
            guard let index = others.firstIndex(of: text) else { return true }
            others.remove(at: index)
            return false
        }
    }

    private static func text(_ entry: JSONValue) -> String {
        (try? JSON.encode(entry)).map { String(decoding: $0, as: UTF8.self) } ?? "\(entry)"
    }
}

extension JSONValue {
    fileprivate var isCutSet: Bool { self["set"]?["name"]?.string == FirewallRules.cutSet }
}
