public import FastableCore
import FoundationEssentials

/// An image on this node's disk; the content of its `image.json`.
public struct StoredImage: Codable, Sendable, Equatable {
    public var info: ImageInfo
    /// The root file system on the host.
    public var rootfs: String
    /// Environment that the image wants for every command.
    public var environment: [String: String]
    /// Where the image wants commands to start, when nobody says otherwise.
    public var workingDirectory: String

    /// What an image says about the processes in it.
    struct Settings: Equatable, Sendable {
        var environment: [String: String] = [:]
        var workingDirectory = "/"

        /// Reads the `config.json` that umoci writes beside an unpacked image.
        init(bundleConfiguration data: Data) throws {
            struct Configuration: Decodable {
                struct Process: Decodable {
                    var env: [String]?
                    var cwd: String?
                }
                var process: Process?
            }
            let process = try JSONDecoder().decode(Configuration.self, from: data).process
            for entry in process?.env ?? [] {
                guard let equals = entry.firstIndex(of: "="), equals != entry.startIndex else { continue }
                environment[String(entry[..<equals])] = String(entry[entry.index(after: equals)...])
            }
            // These two are the unpacking tool's own choices, not the image's.
            environment["TERM"] = nil
            environment["HOME"] = nil
            workingDirectory = process?.cwd ?? "/"
        }

        init() {}
    }
}
