"""What a workspace is filled with: directories, git work trees and archives of this machine, and the store of them."""
