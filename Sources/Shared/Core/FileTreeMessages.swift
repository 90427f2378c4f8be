/// What a path is. Its last part is not followed when it is a symbolic link, unless `followLink`.
public struct FileStat: Codable, Sendable, Equatable {
    public var path: String
    public var followLink: Bool?
    /// Also reads the file and tells its sha256, as `ifMatch` wants it.
    public var digest: Bool?

    public init(path: String, followLink: Bool? = nil, digest: Bool? = nil) {
        self.path = path
        self.followLink = followLink
        self.digest = digest
    }
}

public struct FileStatResult: Codable, Sendable, Equatable {
    public var path: String
    public var kind: FileEntry.Kind
    public var sizeBytes: Int
    /// Permission bits, octal: `0644`.
    public var mode: String
    public var modifiedMilliseconds: Int64
    /// As the container numbers its users; absent when none of them owns it.
    public var user: Int?
    public var group: Int?
    /// Names that the file has.
    public var links: Int
    public var symlinkTarget: String?
    public var sha256: String?

    public init(
        path: String, kind: FileEntry.Kind, sizeBytes: Int, mode: String, modifiedMilliseconds: Int64,
        user: Int? = nil, group: Int? = nil, links: Int = 1, symlinkTarget: String? = nil, sha256: String? = nil
    ) {
        self.path = path
        self.kind = kind
        self.sizeBytes = sizeBytes
        self.mode = mode
        self.modifiedMilliseconds = modifiedMilliseconds
        self.user = user
        self.group = group
        self.links = links
        self.symlinkTarget = symlinkTarget
        self.sha256 = sha256
    }
}

public struct DirectoryMake: Codable, Sendable, Equatable {
    public var path: String
    /// Makes missing directories on the way, and takes one that is there already.
    public var parents: Bool?

    public init(path: String, parents: Bool? = nil) {
        self.path = path
        self.parents = parents
    }
}

public struct DirectoryMakeResult: Codable, Sendable, Equatable {
    public var path: String
    public var created: Bool

    public init(path: String, created: Bool) {
        self.path = path
        self.created = created
    }
}

/// Gives a file, a link or a directory another name; a link itself is moved, never what it leads to.
public struct FileMove: Codable, Sendable, Equatable {
    public var from: String
    /// The new name itself, not a directory to put it into. Missing directories above it are made.
    public var to: String
    /// Replaces a file or a link that is there; a directory never is.
    public var overwrite: Bool?
    /// sha256 of the file that may be replaced; `""` means that nothing may be there.
    public var ifMatch: String?
    /// sha256 of the file that may be moved.
    public var ifSourceMatch: String?

    public init(
        from: String, to: String, overwrite: Bool? = nil, ifMatch: String? = nil, ifSourceMatch: String? = nil
    ) {
        self.from = from
        self.to = to
        self.overwrite = overwrite
        self.ifMatch = ifMatch
        self.ifSourceMatch = ifSourceMatch
    }
}

public struct FileMoveResult: Codable, Sendable, Equatable {
    public var from: String
    public var to: String
    /// A file that was there is gone.
    public var replaced: Bool

    public init(from: String, to: String, replaced: Bool) {
        self.from = from
        self.to = to
        self.replaced = replaced
    }
}

/// Copies a file, a link or a tree; links are copied as links.
public struct FileCopy: Codable, Sendable, Equatable {
    public var from: String
    /// The new name itself, not a directory to put it into. Missing directories above it are made.
    public var to: String
    /// Needed for a directory.
    public var recursive: Bool?
    /// Replaces the content of a file that is there; a directory never is replaced.
    public var overwrite: Bool?
    /// sha256 of the file that may be replaced; `""` means that nothing may be there.
    public var ifMatch: String?

    public init(
        from: String, to: String, recursive: Bool? = nil, overwrite: Bool? = nil, ifMatch: String? = nil
    ) {
        self.from = from
        self.to = to
        self.recursive = recursive
        self.overwrite = overwrite
        self.ifMatch = ifMatch
    }
}

public struct FileCopyResult: Codable, Sendable, Equatable {
    public var from: String
    public var to: String
    /// Files, directories and links that were made.
    public var copied: Int
    public var sizeBytes: Int64
    /// FIFOs, sockets and devices, which are not copied.
    public var skipped: Int
    public var replaced: Bool

    public init(from: String, to: String, copied: Int, sizeBytes: Int64, skipped: Int = 0, replaced: Bool = false) {
        self.from = from
        self.to = to
        self.copied = copied
        self.sizeBytes = sizeBytes
        self.skipped = skipped
        self.replaced = replaced
    }
}

/// Sets the permission bits of a file or a directory.
public struct FileModeChange: Codable, Sendable, Equatable {
    public var path: String
    /// Octal, `0000` to `0777`.
    public var mode: String
    /// sha256 of the file that is meant.
    public var ifMatch: String?

    public init(path: String, mode: String, ifMatch: String? = nil) {
        self.path = path
        self.mode = mode
        self.ifMatch = ifMatch
    }
}

public struct FileModeChangeResult: Codable, Sendable, Equatable {
    public var path: String
    public var mode: String

    public init(path: String, mode: String) {
        self.path = path
        self.mode = mode
    }
}
