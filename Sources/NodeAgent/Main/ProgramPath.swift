import FoundationEssentials
import Glibc

/// Programs that are installed together stand together.
enum ProgramPath {
    static func beside(_ name: String) -> String {
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let length = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard length > 0 else { return "/usr/bin/\(name)" }
        let own = String(decoding: buffer[..<length].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        guard let slash = own.lastIndex(of: "/") else { return "/usr/bin/\(name)" }
        return own[...slash] + name
    }
}
