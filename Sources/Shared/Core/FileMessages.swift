/// A file call of the link: whose files, and what to do. The arguments are the operation's own input without `project`.
public struct FileCall<Arguments: Codable & Sendable>: Codable, Sendable {
    public var project: ProjectID
    public var arguments: Arguments

    public init(project: ProjectID, arguments: Arguments) {
        self.project = project
        self.arguments = arguments
    }
}

/// Paths are relative to `/workspace`; `/workspace/…` is understood as the same. Everything else that leads out is `forbidden`.
public struct FileRead: Codable, Sendable, Equatable {
    public var path: String
    /// First line to give, counted from 1; a directory ignores it.
    public var offset: Int?
    /// Number of lines.
    public var limit: Int?

    public init(path: String, offset: Int? = nil, limit: Int? = nil) {
        self.path = path
        self.offset = offset
        self.limit = limit
    }
}

public struct FileReadResult: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable { case file, directory }
    public enum Encoding: String, Codable, Sendable { case utf8, base64 }

    public var path: String
    public var kind: Kind
    /// The text, or base 64 when the file is not UTF-8 text; absent for a directory.
    public var content: String?
    public var encoding: Encoding?
    /// Of the whole file, also when only a part is given.
    public var sha256: String?
    public var sizeBytes: Int?
    public var firstLine: Int?
    public var lineCount: Int?
    public var totalLines: Int?
    /// More follows: read on from `firstLine + lineCount`.
    public var truncated: Bool
    public var entries: [FileEntry]?

    public init(
        path: String, kind: Kind, content: String? = nil, encoding: Encoding? = nil, sha256: String? = nil,
        sizeBytes: Int? = nil, firstLine: Int? = nil, lineCount: Int? = nil, totalLines: Int? = nil,
        truncated: Bool = false, entries: [FileEntry]? = nil
    ) {
        self.path = path
        self.kind = kind
        self.content = content
        self.encoding = encoding
        self.sha256 = sha256
        self.sizeBytes = sizeBytes
        self.firstLine = firstLine
        self.lineCount = lineCount
        self.totalLines = totalLines
        self.truncated = truncated
        self.entries = entries
    }
}

public struct FileEntry: Codable, Sendable, Equatable {
    public enum Kind: String, Codable, Sendable { case file, directory, symlink, other }
    /// Relative to the directory that was listed.
    public var name: String
    public var kind: Kind
    public var sizeBytes: Int
    /// Permission bits, octal: `0644`.
    public var mode: String
    public var modifiedMilliseconds: Int64
    public var symlinkTarget: String?

    public init(
        name: String, kind: Kind, sizeBytes: Int, mode: String, modifiedMilliseconds: Int64, symlinkTarget: String?
    ) {
        self.name = name
        self.kind = kind
        self.sizeBytes = sizeBytes
        self.mode = mode
        self.modifiedMilliseconds = modifiedMilliseconds
        self.symlinkTarget = symlinkTarget
    }
}

public struct FileWrite: Codable, Sendable, Equatable {
    public var path: String
    public var content: String
    public var encoding: FileReadResult.Encoding?
    /// sha256 that the file must have now; `""` means that it must not exist. Otherwise `stale`.
    public var ifMatch: String?
    /// `true` sets the execute bits.
    public var executable: Bool?

    public init(
        path: String, content: String, encoding: FileReadResult.Encoding? = nil, ifMatch: String? = nil,
        executable: Bool? = nil
    ) {
        self.path = path
        self.content = content
        self.encoding = encoding
        self.ifMatch = ifMatch
        self.executable = executable
    }
}

public struct FileWriteResult: Codable, Sendable, Equatable {
    public var path: String
    public var sha256: String
    public var sizeBytes: Int
    public var created: Bool

    public init(path: String, sha256: String, sizeBytes: Int, created: Bool) {
        self.path = path
        self.sha256 = sha256
        self.sizeBytes = sizeBytes
        self.created = created
    }
}

public struct FileEdit: Codable, Sendable, Equatable {
    public struct Replacement: Codable, Sendable, Equatable {
        public var oldString: String
        public var newString: String
        public var replaceAll: Bool?

        public init(oldString: String, newString: String, replaceAll: Bool? = nil) {
            self.oldString = oldString
            self.newString = newString
            self.replaceAll = replaceAll
        }
    }

    public var path: String
    public var edits: [Replacement]
    public var ifMatch: String?

    public init(path: String, edits: [Replacement], ifMatch: String? = nil) {
        self.path = path
        self.edits = edits
        self.ifMatch = ifMatch
    }
}

public struct FileEditResult: Codable, Sendable, Equatable {
    public var path: String
    public var sha256: String
    public var replacements: Int
    /// Line of the first replacement, counted from 1.
    public var firstLine: Int
    /// The lines around the first replacement, four on each side.
    public var snippet: String

    public init(path: String, sha256: String, replacements: Int, firstLine: Int, snippet: String) {
        self.path = path
        self.sha256 = sha256
        self.replacements = replacements
        self.firstLine = firstLine
        self.snippet = snippet
    }
}

public struct FileList: Codable, Sendable, Equatable {
    public var path: String?
    /// Levels below `path`; 1 lists the directory itself.
    public var depth: Int?
    public var includeHidden: Bool?

    public init(path: String? = nil, depth: Int? = nil, includeHidden: Bool? = nil) {
        self.path = path
        self.depth = depth
        self.includeHidden = includeHidden
    }
}

public struct FileListResult: Codable, Sendable, Equatable {
    public var path: String
    public var entries: [FileEntry]
    public var truncated: Bool

    public init(path: String, entries: [FileEntry], truncated: Bool) {
        self.path = path
        self.entries = entries
        self.truncated = truncated
    }
}

/// Files whose path matches, as ripgrep's `--glob` understands it; .gitignore is honoured unless `includeIgnored`.
public struct FileGlob: Codable, Sendable, Equatable {
    public var pattern: String
    public var path: String?
    public var includeIgnored: Bool?
    public var limit: Int?

    public init(pattern: String, path: String? = nil, includeIgnored: Bool? = nil, limit: Int? = nil) {
        self.pattern = pattern
        self.path = path
        self.includeIgnored = includeIgnored
        self.limit = limit
    }
}

public struct FileGlobResult: Codable, Sendable, Equatable {
    /// Sorted, relative to `/workspace`.
    public var paths: [String]
    public var truncated: Bool

    public init(paths: [String], truncated: Bool) {
        self.paths = paths
        self.truncated = truncated
    }
}

public struct FileGrep: Codable, Sendable, Equatable {
    /// A regular expression of ripgrep.
    public var pattern: String
    public var path: String?
    public var glob: String?
    public var ignoreCase: Bool?
    /// `pattern` is plain text.
    public var fixedString: Bool?
    public var includeIgnored: Bool?
    /// Matches to give at most.
    public var limit: Int?

    public init(
        pattern: String, path: String? = nil, glob: String? = nil, ignoreCase: Bool? = nil, fixedString: Bool? = nil,
        includeIgnored: Bool? = nil, limit: Int? = nil
    ) {
        self.pattern = pattern
        self.path = path
        self.glob = glob
        self.ignoreCase = ignoreCase
        self.fixedString = fixedString
        self.includeIgnored = includeIgnored
        self.limit = limit
    }
}

public struct FileGrepResult: Codable, Sendable, Equatable {
    public struct Match: Codable, Sendable, Equatable {
        public var path: String
        public var line: Int
        public var text: String

        public init(path: String, line: Int, text: String) {
            self.path = path
            self.line = line
            self.text = text
        }
    }

    public var matches: [Match]
    public var filesWithMatches: Int
    public var truncated: Bool

    public init(matches: [Match], filesWithMatches: Int, truncated: Bool) {
        self.matches = matches
        self.filesWithMatches = filesWithMatches
        self.truncated = truncated
    }
}

/// What a search tells that is followed as it goes on.
public enum FileSearchEvent<Item: Codable & Sendable, Result: Codable & Sendable>: Codable, Sendable {
    /// In the order in which it was found.
    case found([Item])
    /// The last: the result without what was told before.
    case finished(Result)
}

public struct FileDelete: Codable, Sendable, Equatable {
    public var path: String
    /// Needed for a directory that is not empty.
    public var recursive: Bool?
    /// sha256 that the file must have now; only for a file.
    public var ifMatch: String?

    public init(path: String, recursive: Bool? = nil, ifMatch: String? = nil) {
        self.path = path
        self.recursive = recursive
        self.ifMatch = ifMatch
    }
}

public struct FileDeleteResult: Codable, Sendable, Equatable {
    public var path: String
    /// Files, directories and links that were removed.
    public var removed: Int

    public init(path: String, removed: Int) {
        self.path = path
        self.removed = removed
    }
}

/// Raw bytes of one file, optionally a range.
public struct FileDownload: Codable, Sendable, Equatable {
    public var path: String
    public var offset: Int64?
    public var length: Int64?

    public init(path: String, offset: Int64? = nil, length: Int64? = nil) {
        self.path = path
        self.offset = offset
        self.length = length
    }
}

/// Comes before the bytes of a download.
public struct FileDownloadHead: Codable, Sendable, Equatable {
    public var sizeBytes: Int64
    public var offset: Int64
    public var length: Int64
    /// Another one for each state of the file; `ifMatch` takes it like a sha256.
    public var version: String

    public init(sizeBytes: Int64, offset: Int64, length: Int64, version: String) {
        self.sizeBytes = sizeBytes
        self.offset = offset
        self.length = length
        self.version = version
    }
}

public struct FileUpload: Codable, Sendable, Equatable {
    public var path: String
    public var ifMatch: String?
    public var executable: Bool?

    public init(path: String, ifMatch: String? = nil, executable: Bool? = nil) {
        self.path = path
        self.ifMatch = ifMatch
        self.executable = executable
    }
}

/// How an archive is compressed on its way.
public enum TreeCompression: String, Codable, Sendable { case zstd }

/// A POSIX tar (ustar or pax), unpacked below `path`.
public struct TreePush: Codable, Sendable, Equatable {
    public var path: String?
    /// Let the tree take the place of what stands below `path`, once all of it has come.
    public var replace: Bool?
    /// `""` means that nothing may be there yet; then the tree appears once all of it has come.
    public var ifMatch: String?
    public var compression: TreeCompression?

    public init(
        path: String? = nil, replace: Bool? = nil, ifMatch: String? = nil, compression: TreeCompression? = nil
    ) {
        self.path = path
        self.replace = replace
        self.ifMatch = ifMatch
        self.compression = compression
    }
}

public struct TreePull: Codable, Sendable, Equatable {
    public var path: String?
    public var compression: TreeCompression?

    public init(path: String? = nil, compression: TreeCompression? = nil) {
        self.path = path
        self.compression = compression
    }
}

public struct TreeResult: Codable, Sendable, Equatable {
    public var files: Int
    public var sizeBytes: Int64

    public init(files: Int, sizeBytes: Int64) {
        self.files = files
        self.sizeBytes = sizeBytes
    }
}
