import FastableCore
package import HTTPTypes

/// How a tree travels over HTTP: as a tar archive, as one in the content coding zstd, which clients take off by themselves, or as a
/// compressed archive, which is the file `tree.tar.zst`.
package enum TreeForm: Sendable {
    case plain, coded, compressed

    package static let tar = "application/x-tar"
    /// RFC 8878, like the name of the coding.
    package static let zstd = "application/zstd"
    private static let coding = "zstd"

    var compression: TreeCompression? { self == .plain ? nil : .zstd }
    var mediaType: String { self == .compressed ? Self.zstd : Self.tar }
    var coding: String? { self == .coded ? Self.coding : nil }

    /// What a body says that it is. Any other media type is taken for tar: clients send what they please there.
    package static func ofBody(_ headers: HTTPFields) throws -> TreeForm {
        let codings = Self.codings(of: headers)
        guard codings.isEmpty || codings == [coding] else {
            throw FastableError(
                .invalid,
                "A tree cannot come with the ‘Content-Encoding’ ‘\(codings.joined(separator: ", "))’. Send it as it is, or use zstd."
            )
        }
        if !codings.isEmpty { return .coded }
        return words(headers[values: .contentType]).contains { $0.name == zstd } ? .compressed : .plain
    }

    /// What a body must be taken out of, in the order in which it was put in.
    static func codings(of headers: HTTPFields) -> [String] {
        words(headers[values: .contentEncoding]).map(\.name).filter { $0 != "identity" && !$0.isEmpty }
    }

    /// What a client wants. Whoever names the compressed archive before the plain one gets that.
    package static func wanted(accept: [String], _ headers: HTTPFields) -> TreeForm {
        if accept.first(where: { $0 == tar || $0 == zstd }) == zstd { return .compressed }
        let takesCoding = words(headers[values: .acceptEncoding]).contains { $0.name == coding && $0.isWanted }
        return takesCoding ? .coded : .plain
    }

    /// The parts of a list, each without its parameters; one with the weight 0 is not wanted.
    private static func words(_ values: [String]) -> [(name: String, isWanted: Bool)] {
        values.flatMap { $0.split(separator: ",") }.map { part in
            let pieces = part.split(separator: ";").map { String($0).trimmed.lowercased() }
            let weight = pieces.dropFirst().first { $0.hasPrefix("q=") }?.dropFirst(2)
            let isWanted = weight?.contains { ("1"..."9").contains($0) } ?? true
            return (pieces.first ?? "", isWanted)
        }
    }
}
