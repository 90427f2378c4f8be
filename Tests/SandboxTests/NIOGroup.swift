import Logging
import NIOCore
import NIOPosix

/// What every manager of the tests runs on.
enum NIOGroup {
    static var shared: any EventLoopGroup { MultiThreadedEventLoopGroup.singleton }

    static var quiet: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }
}
