import FastableCore
import Foundation
import Synchronization

/// This program's own terminal: raw while a command in a terminal is attached, and as it was before afterwards.
enum TerminalMode {
    private static let saved = Mutex<termios?>(nil)

    static var isTerminal: Bool { isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1 }

    /// `nil` where there is no terminal.
    static var size: TerminalSize? {
        var size = winsize()
        guard ioctl(STDOUT_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_row > 0, size.ws_col > 0 else { return nil }
        return TerminalSize(rows: size.ws_row, columns: size.ws_col)
    }

    /// Every key goes to the command, Ctrl-C among them.
    static func makeRaw() {
        var mode = termios()
        guard tcgetattr(STDIN_FILENO, &mode) == 0 else { return }
        let before = mode
        saved.withLock { $0 = before }
        cfmakeraw(&mode)
        tcsetattr(STDIN_FILENO, TCSADRAIN, &mode)
    }

    static func restore() {
        let mode = saved.withLock { saved in
            defer { saved = nil }
            return saved
        }
        guard var mode else { return }
        tcsetattr(STDIN_FILENO, TCSADRAIN, &mode)
    }
}
