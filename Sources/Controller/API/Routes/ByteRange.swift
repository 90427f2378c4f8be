/// A `Range` header with one range (RFC 9110, section 14). Everything else is ignored, which the RFC allows: the whole file comes.
package enum ByteRange: Sendable, Equatable {
    /// `bytes=first-last`, both inclusive; `last` may be beyond the end.
    case from(Int64, last: Int64?)
    /// `bytes=-count`: the end of the file.
    case suffix(Int64)

    package init?(_ header: String?) {
        guard let header, header.hasPrefix("bytes="), !header.contains(",") else { return nil }
        let parts = header.dropFirst("bytes=".count).split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2 else { return nil }
        switch (Self.number(parts[0]), Self.number(parts[1])) {
        case (let first?, let last?) where first <= last: self = .from(first, last: last)
        case (let first?, nil) where parts[1].isEmpty: self = .from(first, last: nil)
        case (nil, let count?) where parts[0].isEmpty: self = .suffix(count)
        default: return nil
        }
    }

    /// Where to begin and how many bytes to take of a file of this size; `nil` when the range lies outside of it.
    package func resolve(size: Int64) -> (offset: Int64, length: Int64)? {
        switch self {
        case .from(let first, let last):
            guard first < size else { return nil }
            return (first, min(last ?? size - 1, size - 1) - first + 1)
        case .suffix(let count):
            guard count > 0, size > 0 else { return nil }
            return (max(0, size - count), min(count, size))
        }
    }

    /// Digits only: `Int64("+1")` would be a number.
    private static func number(_ text: Substring) -> Int64? {
        text.utf8.allSatisfy { (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) } ? Int64(text) : nil
    }
}
