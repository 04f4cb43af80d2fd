"""What a workspace is filled with: directories, git work trees and archives of this computer, and the store of them."""
