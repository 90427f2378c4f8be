import ControllerDomain
import FastableCore

/// Operations on names and attributes: they move no content over the link.
extension FileOperations {
    var stat: Operation {
        forwarding(
            "fs.stat",
            .init(
                "Look at a path",
                "Tells what a path is: kind, size, mode, owner, time of change, and on request the sha256 that `ifMatch` takes. A link "
                    + "is told as such unless `followLink`. Fails with not_found when there is no such path."),
            .filesRead, .reading, .fsStat, FileStat.self, FileStatResult.self,
            [
                .required("path", FileSchemas.path("The file, link or directory.")),
                .optional("followLink", .boolean("Tell what a symbolic link leads to.", default: false)),
                .optional("digest", .boolean("Also the sha256 of a file, which must be read for it.", default: false)),
            ], FileSchemas.stated)
    }

    var makeDirectory: Operation {
        forwarding(
            "fs.mkdir",
            .init(
                "Make a directory",
                "Makes a directory. With `parents` also those that are missing above it, and one that is there already is no error; "
                    + "otherwise the call fails with conflict when the name is taken, and not_found without a directory above it."
            ),
            .filesWrite, .writing(idempotent: true), .fsMakeDirectory, DirectoryMake.self, DirectoryMakeResult.self,
            [
                .required("path", FileSchemas.path("The directory.")),
                .optional("parents", .boolean("Like `mkdir -p`.", default: false)),
            ], FileSchemas.madeDirectory)
    }

    var move: Operation {
        forwarding(
            "fs.move",
            .init(
                "Move or rename",
                "Gives a file, a link or a directory another name, atomically; missing directories above it are made. Fails with conflict "
                    + "when something is there, unless it is a file and `overwrite` or `ifMatch` permits to replace it, and with "
                    + "stale when `ifMatch` or `ifSourceMatch` does not hold."),
            .filesWrite, .writing(destructive: true), .fsMove, FileMove.self, FileMoveResult.self,
            [
                .required("from", FileSchemas.path("What to move; a link itself is moved.")),
                .required("to", FileSchemas.path("The new name itself, not a directory to put it into.")),
                .optional("overwrite", FileSchemas.overwrite),
                .optional("ifMatch", FileSchemas.ifTargetMatch),
                .optional("ifSourceMatch", FileSchemas.ifContentMatch),
            ], FileSchemas.moved)
    }

    var copy: Operation {
        forwarding(
            "fs.copy",
            .init(
                "Copy a file or a tree",
                "Copies a file, a link (as a link) or, with `recursive`, a directory with all that is in it; at most "
                    + "\(Limits.copyEntries) files and \(Limits.copyBytes) bytes. The copy appears complete or not at all, and belongs to "
                    + "root. Fails with conflict when something is there, unless it is a file and `overwrite` or `ifMatch` permits to "
                    + "replace it, and with stale when `ifMatch` does not hold."),
            .filesWrite, .writing(destructive: true), .fsCopy, FileCopy.self, FileCopyResult.self,
            [
                .required("from", FileSchemas.path("What to copy.")),
                .required("to", FileSchemas.path("The new name itself, not a directory to put it into.")),
                .optional("recursive", .boolean("Needed for a directory.", default: false)),
                .optional("overwrite", FileSchemas.overwrite),
                .optional("ifMatch", FileSchemas.ifTargetMatch),
            ], FileSchemas.copied, timeoutSeconds: Limits.copySeconds)
    }

    var changeMode: Operation {
        forwarding(
            "fs.chmod",
            .init(
                "Change permissions",
                "Sets the permission bits of a file or a directory; of a link, those of what it leads to. Set-user-id, set-group-id and "
                    + "sticky bits are not set. Fails with not_found when there is no such path, and with stale when `ifMatch` does not hold."
            ),
            .filesWrite, .writing(idempotent: true), .fsChangeMode, FileModeChange.self, FileModeChangeResult.self,
            [
                .required("path", FileSchemas.path("The file or directory.")),
                .required("mode", .string("Octal, for example `755`.", minimumBytes: 3, maximumBytes: 4)),
                .optional("ifMatch", FileSchemas.ifContentMatch),
            ], FileSchemas.changedMode)
    }
}
